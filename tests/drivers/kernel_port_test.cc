// Ports over kernel interfaces: net_af_packet on a veth pair, net_tap. Root only; the whole process works in
// a network namespace of its own, which vanishes with it, however it ends.
#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/vlan_frame.h"
#include "drivers/xdp_program.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/drivers/kernel_wire.h"

namespace weir::test {
namespace {

using Bytes = std::vector<std::uint8_t>;
// Of libxdp, which net_af_xdp needs: passes every frame on.
constexpr const char* kProgram = "/usr/lib/x86_64-linux-gnu/bpf/xsk_def_xdp_prog.o";

class KernelPortTest : public DriversTest {
  protected:
    static void SetUpTestSuite() {
        if (getuid() != 0) return;
        enter_own_network();
        DriversTest::SetUpTestSuite();
    }
    void SetUp() override {
        if (getuid() != 0)
            GTEST_SKIP()
                << "NOT TESTED: ports over kernel interfaces need root (veth, AF_PACKET, TAP); run as root";
    }
    // wire0 is weir's end, wire1 the kernel's.
    static void make_wire(unsigned mtu = 1500) { test::make_wire("wire0", "wire1", mtu); }
    void TearDown() override {
        if (getuid() == 0 && if_nametoindex("wire0") != 0) shell("ip link del wire0");
    }
    // Of the local experimental EtherType 0x88b5; broadcast, so that any end takes it.
    static Bytes test_frame(std::size_t length, std::uint8_t first) {
        Bytes frame = frame_of(length, first);
        std::fill_n(frame.begin(), 6, std::uint8_t{0xff});
        frame[6] = 0x02;
        frame[12] = 0x88;
        frame[13] = 0xb5;
        return frame;
    }
    static std::vector<Bytes> wait_for(const RxQueue& queue, std::size_t count) {
        std::vector<Bytes> frames;
        for (int tries = 0; tries < 200 && frames.size() < count; ++tries) {
            for (auto& frame : receive_all(queue, 4))
                if (frame.size() >= 14 && frame[12] == 0x88 && frame[13] == 0xb5)
                    frames.push_back(std::move(frame));
            usleep(5'000);
        }
        return frames;
    }
    static bool is_promiscuous(const std::string& interface) {
        return (ask(interface, SIOCGIFFLAGS).ifr_flags & IFF_PROMISC) != 0;
    }
};

TEST_F(KernelPortTest, a_named_interface_becomes_a_port_and_carries_frames_both_ways) {
    make_wire();
    const RawSocket kernel("wire1");
    {
        auto port = Port::open(spec("edge", "wire0"), pools_);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_EQ(port->driver(), "net_af_xdp");
        EXPECT_TRUE(has_xdp_program("wire0"));
        EXPECT_TRUE(port->link_up());
        EXPECT_TRUE(is_promiscuous("wire0")) << "multicast arrives no other way";
        EXPECT_FALSE(port->may_receive_chains());
        for (const std::size_t length : {60u, 1514u}) {
            const auto frame = test_frame(length, 5);
            kernel.send(frame);
            EXPECT_EQ(wait_for({port->ethdev(), 0}, 1), std::vector<Bytes>{frame});
            rte_mbuf* out = to_mbuf(*port->pool(), frame);
            ASSERT_EQ((TxQueue{port->ethdev(), 0}.send({&out, 1})), 1);
            EXPECT_EQ(kernel.receive(), frame);
        }
        ASSERT_EQ(port->notes().size(), 2u);
        EXPECT_TRUE(says(port->notes()[0], {"port edge: wire0 is served by net_af_xdp, the trial path"}));
        EXPECT_TRUE(says(port->notes()[1], {"port edge: until weir ends the kernel sees nothing of wire0"}));
    }
    EXPECT_EQ(pools_.in_use(), 0u);
    EXPECT_FALSE(is_promiscuous("wire0")) << "the kernel's interface is left as it was";
    EXPECT_FALSE(has_xdp_program("wire0"));
}

// Each reason why, in the banner; and frames pass.
TEST_F(KernelPortTest, a_named_interface_is_net_af_packet_where_af_xdp_does_not_fit) {
    struct Case {
        std::string setup;
        std::uint16_t queues, mtu, tag_bytes;
        const char* why;
    };
    for (const Case& one : {Case{"true", 2, 1'500, 0, "but there are 2 workers"},
                            Case{"true", 1, 1'500, 4, "but VLANs lie on it"},
                            Case{"true", 1, 9'000, 0, "but an mtu of 9000 does not fit a page"},
                            Case{"ethtool -L wire0 rx 2", 1, 1'500, 0, "but it has 2 receive queues"},
                            Case{"ip link set wire0 xdp obj " + std::string(kProgram) + " sec xdp", 1, 1'500,
                                 0, "but another XDP program is on it"}}) {
        make_wire();
        if (!succeeds(one.setup)) {
            ADD_FAILURE() << one.setup;
            continue;
        }
        const bool had_program = has_xdp_program("wire0");
        auto wanted = spec("edge", "wire0", one.queues);
        wanted.mtu = one.mtu;
        wanted.tag_bytes = one.tag_bytes;
        {
            const auto port = Port::open(wanted, pools_);
            ASSERT_TRUE(port) << one.why << ": " << port.error().message;
            EXPECT_EQ(port->driver(), "net_af_packet") << one.why;
            const bool told = std::ranges::any_of(port->notes(), [&](const std::string& note) {
                return says(note, {"wire0 is served by net_af_packet", one.why});
            });
            EXPECT_TRUE(told) << one.why;
        }
        EXPECT_EQ(has_xdp_program("wire0"), had_program) << "somebody else's stays";
        TearDown();
    }
}

// What its rings held when it was closed is never given back: so often, and no more.
TEST_F(KernelPortTest, af_xdp_is_left_when_it_was_made_anew_too_often) {
    make_wire();
    const RawSocket kernel("wire1");
    auto port = Port::open(spec("edge", "wire0"), pools_);
    ASSERT_TRUE(port) << port.error().message;
    for (std::size_t times = 1; times <= kMostDevicePools; ++times) {
        EXPECT_EQ(port->driver(), "net_af_xdp") << port->notes().at(0);
        const auto frame = test_frame(100, static_cast<std::uint8_t>(times));
        kernel.send(frame);
        EXPECT_EQ(wait_for({port->ethdev(), 0}, 1), std::vector<Bytes>{frame});
        port->close();
        EXPECT_FALSE(has_xdp_program("wire0"));
        ASSERT_TRUE(port->reopen(UINT16_MAX, pools_));
    }
    EXPECT_EQ(port->driver(), "net_af_packet");
    EXPECT_TRUE(says(port->notes().at(0), {"net_af_packet", "made anew 4 times"}));
    const auto frame = test_frame(100, 9);
    kernel.send(frame);
    EXPECT_EQ(wait_for({port->ethdev(), 0}, 1), std::vector<Bytes>{frame});
}

TEST_F(KernelPortTest, a_chain_goes_out_in_one_frame) {
    make_wire(9'000);
    const RawSocket kernel("wire1");
    auto wanted = spec("edge", "wire0");
    wanted.mtu = 9'000;
    auto port = Port::open(wanted, pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_TRUE(port->can_send_chains());
    const auto frame = test_frame(9'014, 5);
    auto* small_room = pools_.pool_for(SOCKET_ID_ANY).value();
    rte_mbuf* out = to_mbuf(*small_room, frame);
    EXPECT_GT(out->nb_segs, 1);
    ASSERT_EQ((TxQueue{port->ethdev(), 0}.send({&out, 1})), 1);
    EXPECT_EQ(kernel.receive(), frame);
    kernel.send(frame);
    EXPECT_EQ(wait_for({port->ethdev(), 0}, 1), std::vector<Bytes>{frame}) << "and comes in whole";
}

TEST_F(KernelPortTest, two_queues_share_the_flows) {
    make_wire();
    auto port = Port::open(spec("edge", "net_af_packet5,iface=wire0,qpairs=2", 2), pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_FALSE(port->rss().enabled);
    EXPECT_TRUE(says(port->notes().at(0), {"net_af_packet", "RSS"}));
    const RawSocket kernel("wire1");
    constexpr std::size_t kFlows = 64;
    for (unsigned flow = 0; flow < kFlows; ++flow) {
        // A UDP frame from another port each; the kernel spreads by its own flow hash.
        Bytes frame(60);
        frame[0] = 0x02;
        frame[12] = 0x08;
        frame[14] = 0x45;
        frame[17] = 46;
        frame[22] = 64;
        frame[23] = 17;
        frame[26] = frame[30] = 10;
        frame[33] = 1;
        frame[34] = static_cast<std::uint8_t>(flow * 3 + 1);
        frame[37] = 80;
        kernel.send(frame);
    }
    std::size_t got[2] = {0, 0};
    for (int tries = 0; tries < 200 && got[0] + got[1] < kFlows; ++tries) {
        for (std::uint16_t queue = 0; queue < 2; ++queue)
            got[queue] += receive_all({port->ethdev(), queue}, 4).size();
        usleep(5'000);
    }
    EXPECT_EQ(got[0] + got[1], kFlows);
    EXPECT_GT(got[0], 0u);
    EXPECT_GT(got[1], 0u);
}

TEST_F(KernelPortTest, frames_that_would_be_cut_are_spoken_of_beforehand) {
    make_wire(9'000);
    auto wanted = spec("edge", "net_af_packet0,iface=wire0");
    {
        const auto port = Port::open(wanted, pools_);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_TRUE(says(port->notes().at(0), {"wire0", "MTU of 9000", "1982 bytes arrive cut", "framesz"}));
    }
    wanted.mtu = 9'000;
    const auto refused = Port::open(wanted, pools_);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(says(refused.error().message, {"longer than 1982", "mtu = 9000",
                                               "net_af_packet0,iface=wire0,framesz=12288,blocksz=12288"}));
    wanted.device = "net_af_packet0,iface=wire0,framesz=9216,blocksz=12288";
    EXPECT_TRUE(says(Port::open(wanted, pools_).error().message, {"blocksz must be a multiple of framesz"}));
    wanted.device = "net_af_packet0,iface=wire0,framesz=12288,blocksz=12288";
    const auto port = Port::open(wanted, pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_TRUE(port->notes().empty()) << port->notes()[0];
}

TEST_F(KernelPortTest, an_mtu_above_the_interfaces_is_set_there) {
    make_wire(1'500);
    auto wanted = spec("edge", "wire0");
    wanted.mtu = 3'000;
    const auto port = Port::open(wanted, pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_EQ(ask("wire0", SIOCGIFMTU).ifr_mtu, 3'000);
}

// The kernel takes the outer tag off before AF_PACKET sees the frame, and the PMD puts one of 802.1Q back.
TEST_F(KernelPortTest, vlan_tags_arrive_and_leave_at_full_length) {
    for (const VlanTags tags : {VlanTags{100}, VlanTags{300, 10}}) {
        make_wire();
        shell("ip link set wire1 mtu 1508");
        auto wanted = spec("edge", "wire0");
        wanted.tag_bytes = static_cast<std::uint16_t>(tags.bytes());
        {
            auto port = Port::open(wanted, pools_);
            ASSERT_TRUE(port) << port.error().message;
            EXPECT_EQ(ask("wire0", SIOCGIFMTU).ifr_mtu, tags.count() == 1 ? 1'500 : 1'508);
            const RawSocket kernel("wire1");
            const Bytes untagged = test_frame(1'514, 3);
            rte_mbuf* out = to_mbuf(*port->pool(), untagged);
            put_tags({&out, 1}, tags);
            const Bytes tagged = bytes_of(*out);
            kernel.send(tagged);
            rte_mbuf* in = nullptr;
            for (int tries = 0; tries < 200 && in == nullptr; ++tries) {
                if (RxQueue{port->ethdev(), 0}.receive({&in, 1}) == 0) usleep(5'000);
            }
            ASSERT_NE(in, nullptr);
            const FrameTags read = read_tags(in);
            EXPECT_EQ(read.reason, kNotDropped);
            EXPECT_EQ(read.ids, tags);
            remove_tags(in, read.bytes);
            EXPECT_EQ(bytes_of(*in), untagged);
            rte_pktmbuf_free(in);
            ASSERT_EQ((TxQueue{port->ethdev(), 0}.send({&out, 1})), 1);
            EXPECT_EQ(kernel.receive_tagged(), tagged);
        }
        TearDown();
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(KernelPortTest, the_configured_mac_becomes_the_interfaces) {
    make_wire();
    auto wanted = spec("edge", "wire0");
    wanted.mac = MacBytes{0x02, 0, 0, 0, 0, 0x11};
    const auto port = Port::open(wanted, pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_EQ(port->mac(), *wanted.mac);
    MacBytes address;
    std::memcpy(address.data(), ask("wire0", SIOCGIFHWADDR).ifr_hwaddr.sa_data, address.size());
    EXPECT_EQ(address, *wanted.mac);
}

TEST_F(KernelPortTest, a_tap_device_carries_frames_both_ways_on_two_queues) {
    {
        auto wanted = spec("edge", "net_tap0,iface=wtap0", 2);
        wanted.mac = MacBytes{0x02, 0, 0, 0, 0, 0x22};
        auto port = Port::open(wanted, pools_);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_EQ(port->driver(), "net_tap");
        EXPECT_EQ(port->mac(), *wanted.mac);
        EXPECT_FALSE(port->rss().enabled);
        const RawSocket kernel("wtap0");
        const auto frame = test_frame(700, 9);
        for (std::uint16_t queue = 0; queue < 2; ++queue) {
            rte_mbuf* out = to_mbuf(*port->pool(), frame);
            ASSERT_EQ((TxQueue{port->ethdev(), queue}.send({&out, 1})), 1);
            EXPECT_EQ(kernel.receive(), frame) << "queue " << queue;
        }
        kernel.send(frame);
        auto got = wait_for({port->ethdev(), 0}, 1);
        if (got.empty()) got = wait_for({port->ethdev(), 1}, 1);
        EXPECT_EQ(got, std::vector<Bytes>{frame});
    }
    EXPECT_EQ(if_nametoindex("wtap0"), 0u) << "the interface goes with the port";
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(KernelPortTest, a_tap_device_refuses_jumbo_frames_in_a_sentence) {
    auto wanted = spec("edge", "net_tap1,iface=wtap1");
    wanted.mtu = 9'000;
    const auto refused = Port::open(wanted, pools_);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(says(refused.error().message, {"net_tap", "mtu of 9000", "lower the mtu"}));
}

}  // namespace
}  // namespace weir::test
