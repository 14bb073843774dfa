// What goes up to the kernel, beside what tests/replay shows: floods against those whom the kernel talks to,
// a host thread that does not keep up, and what captures cannot hold.
#include <functional>

#include "tests/drivers/eal_fixture.h"
#include "tests/support/frame_kinds.h"
#include "tests/support/sanitized.h"

namespace weir::test {
namespace {

Config host_config() {
    Config config = all_modes_config();
    config.ports[0].host_interface = "weir0";
    config.ports[0].addresses.push_back(prefix("10.1.0.3/16"));
    config.services.push_back(service("own", "10.1.0.3", "mode1", ForwardingMode::dsr));
    return config;
}

// Takes frames, up to a limit, as a ring does that the host thread does not empty.
struct TestHost {
    std::uint32_t room = ~0u;
    std::vector<Bytes> taken;
    [[nodiscard]] std::uint32_t punt_room() const { return room; }
    std::uint32_t punt(std::span<rte_mbuf*> packets) {
        const auto count = std::min<std::size_t>(room, packets.size());
        for (rte_mbuf* packet : packets.first(count)) {
            EXPECT_EQ(packet->port, 0);
            taken.push_back(bytes_of(*packet));
            rte_pktmbuf_free(packet);
        }
        room -= static_cast<std::uint32_t>(count);
        return static_cast<std::uint32_t>(count);
    }
};

class PuntTest : public DriversTest {
  protected:
    PuntTest() {
        counters_->services.ensure(64);
        counters_->backends.ensure(64);
    }
    // What the kernel gets of the frames.
    std::vector<Bytes> run(const std::vector<Bytes>& frames, Tick now = Tick{64}) {
        std::vector<rte_mbuf*> packets;
        for (const Bytes& frame : frames) packets.push_back(frames_.frame(frame));
        return run_packets(packets, now);
    }
    std::vector<Bytes> run_packets(const std::vector<rte_mbuf*>& packets, Tick now = Tick{64}) {
        const ForwardingSnapshot& snapshot = world_.worker().world();
        for (std::size_t at = 0; at < packets.size(); at += kBurstSize) {
            Burst burst(PortId{0});
            burst.size = static_cast<std::uint32_t>(std::min<std::size_t>(kBurstSize, packets.size() - at));
            std::copy_n(packets.begin() + static_cast<std::ptrdiff_t>(at), burst.size, burst.packet.begin());
            pipeline_.run(burst, snapshot, now);
            pipeline_.flush(snapshot, [this](PortId) -> TestWire& { return wire_; });
            pipeline_.hand_up(host_);
        }
        sent_ += wire_.taken.size();
        if (!wire_.taken.empty())
            rte_pktmbuf_free_bulk(wire_.taken.data(), static_cast<unsigned>(wire_.taken.size()));
        wire_.taken.clear();
        expect_accounted(*counters_);
        EXPECT_EQ(frames_.in_use(), 0u);
        return std::exchange(host_.taken, {});
    }
    std::uint64_t punted(PuntClass punt_class) const {
        return counters_->punted_by_class[static_cast<std::size_t>(punt_class)].value();
    }
    void kernel_sends(const Bytes& frame, Tick now = Tick{64}) {
        const auto size = static_cast<std::uint32_t>(frame.size());
        flows_.note_sent({frame.data(), size, size}, now);
    }

    FramePool frames_{"punt", 4095};
    SmallWorld world_{host_config()};
    std::unique_ptr<WorkerCounters> counters_ = std::make_unique<WorkerCounters>();
    HugeMemory memory_ = std::move(*HugeMemory::allocate(FlowTable::bytes_for(4096), false));
    PuntLimits limits_{1};
    HostFlows flows_{HashKey::zero()};
    Pipeline pipeline_{memory_.bytes().first(FlowTable::bytes_for(4096)),
                       HashKey::zero(),
                       *counters_,
                       {.limits = &limits_, .flows = &flows_}};
    TestHost host_;
    TestWire wire_;
    std::uint64_t sent_ = 0;
};

// A BGP session of weir's kernel with the router: the kernel's own packets, and the router's.
Tuple bgp_of_kernel() {
    return {.source = ip("10.1.0.2"),
            .destination = ip("10.1.0.1"),
            .source_port = 40'000,
            .destination_port = 179};
}
Tuple turned(const Tuple& tuple) {
    return {.source = tuple.destination,
            .destination = tuple.source,
            .source_port = tuple.destination_port,
            .destination_port = tuple.source_port};
}

// Junk of one kind, a packet for each number: forged sources, and ports that are no session's.
struct Junk {
    const char* name;
    std::function<Bytes(std::uint32_t)> frame;
};
Tuple forged(std::uint32_t n, std::uint16_t source_port, std::uint16_t l4_port) {
    return {.source = IpAddress(Ipv4Address{Be32(0xc612'0000u + n % 0x1'0000)}),
            .destination = ip("10.1.0.2"),
            .source_port = source_port,
            .destination_port = l4_port};
}
Bytes other_type(Bytes frame, std::uint16_t type) {
    put_word(frame, 12, type);
    return frame;
}
std::vector<Junk> all_junk() {
    const IpAddress us = ip("10.1.0.2");
    const auto from = [](std::uint32_t n) { return forged(n, 0, 0).source; };
    return {
        {"SYN to ssh", [](std::uint32_t n) { return tcp_frame(forged(n, 9, 22), kSyn); }},
        {"SYN to BGP", [](std::uint32_t n) { return tcp_frame(forged(n, 9, 179), kSyn); }},
        {"BGP of the router, port guessed",
         [](std::uint32_t n) {
             Tuple guess = turned(bgp_of_kernel());
             guess.destination_port = static_cast<std::uint16_t>(n % 40'000);
             return tcp_frame(guess, kAck);
         }},
        {"TCP data", [](std::uint32_t n) { return tcp_frame(forged(n, 80, 40'000), kAck, 40); }},
        {"TCP SYN-ACK", [](std::uint32_t n) { return tcp_frame(forged(n, 80, 40'000), kSyn | kAck); }},
        {"TCP RST", [](std::uint32_t n) { return tcp_frame(forged(n, 179, 40'000), kRst); }},
        {"UDP", [](std::uint32_t n) { return udp_frame(forged(n, 53, 40'000), 40); }},
        {"BFD", [](std::uint32_t n) { return udp_frame(forged(n, 49'152, 4'784), 24); }},
        {"echo", [us, from](std::uint32_t n) { return echo_request(from(n), us, 40); }},
        {"fragments",
         [us, from](std::uint32_t n) { return ip_frame({}, from(n), us, 6, payload(40), {}, 0x2001); }},
        {"GRE", [us, from](std::uint32_t n) { return ip_frame({}, from(n), us, 47, payload(40), {}); }},
        {"OSPF", [us, from](std::uint32_t n) { return ip_frame({}, from(n), us, 89, payload(40), {}); }},
        {"ARP", [us, from](std::uint32_t n) { return arp_request(from(n), us); }},
        {"solicitations",
         [](std::uint32_t n) {
             const Tuple forged_v6 = client_flow(n << 16, ip("fd00:1::2"));
             return neighbor_solicitation(forged_v6.source, forged_v6.destination);
         }},
        {"LLDP", [us, from](std::uint32_t n) { return other_type(arp_request(from(n), us), 0x88cc); }},
        {"multicast",
         [from](std::uint32_t n) {
             const Link group{.to = {{1, 0, 0x5e, 0, 0, 0xfb}}};
             return ip_frame(group, from(n), ip("224.0.0.251"), 17, payload(40), {});
         }},
    };
}

// A million packets a second of each kind, for half a second of the workers' time; the session has a packet
// each way every eight ticks, the router asks for us and is asked once in between.
TEST_F(PuntTest, junk_of_no_kind_starves_a_session_and_its_neighbours) {
    constexpr std::uint32_t kPerTick = (kSanitized ? 100'000 : 1'000'000) / kTicksPerSecond,
                            kTicks = kTicksPerSecond / 2;
    const Bytes ours = tcp_frame(bgp_of_kernel(), kAck, 19),
                theirs = tcp_frame(turned(bgp_of_kernel()), kAck, 19);
    const Bytes ask = arp_request(ip("10.1.0.2"), ip("10.1.0.1")),
                asks = arp_request(ip("10.1.0.1"), ip("10.1.0.2"));
    std::uint32_t start = 64;
    for (const Junk& junk : all_junk()) {
        std::uint64_t keepalives = 0, delivered = 0, asked = 0, heard = 0;
        const std::uint64_t talking_before = punted(PuntClass::talking);
        for (std::uint32_t t = 0; t < kTicks; ++t) {
            const Tick now{start + t};
            std::vector<rte_mbuf*> packets;
            if (t % 8 == 0) {
                kernel_sends(ours, now);
                kernel_sends(ask, now);
            }
            for (std::uint32_t n = 0; n < kPerTick; ++n) {
                packets.push_back(frames_.frame(junk.frame(t * kPerTick + n)));
                if (t % 8 == 4 && n == kPerTick / 2) {
                    packets.push_back(frames_.frame(theirs));
                    packets.push_back(frames_.frame(asks));
                    ++keepalives;
                    ++asked;
                }
                if (packets.size() < 2'048 && n + 1 < kPerTick) continue;
                for (const Bytes& frame : run_packets(packets, now)) {
                    delivered += frame == theirs ? 1 : 0;
                    heard += frame == asks ? 1 : 0;
                }
                packets.clear();
            }
        }
        EXPECT_EQ(delivered, keepalives) << junk.name;
        EXPECT_EQ(heard, asked) << junk.name;
        EXPECT_EQ(punted(PuntClass::talking) - talking_before, delivered)
            << junk.name << " came in as talking";
        start += kTicks;
    }
    EXPECT_GT(dropped(*counters_, DropReason::punt_limited), kSanitized ? 500'000u : 5'000'000u);
    EXPECT_EQ(sent_, 0u);
}

// The floods are floods: without the kernel's word the router is one of many.
TEST_F(PuntTest, a_session_that_the_kernel_does_not_know_is_starved) {
    std::vector<Bytes> frames;
    for (std::uint32_t n = 0; n < 2'000; ++n) frames.push_back(tcp_frame(forged(n, 9, 179), kSyn));
    const Bytes theirs = tcp_frame(turned(bgp_of_kernel()), kAck, 19);
    frames.push_back(theirs);
    EXPECT_NE(run(frames).back(), theirs);
    kernel_sends(tcp_frame(bgp_of_kernel(), kAck));
    EXPECT_EQ(run(frames).back(), theirs);
}

// The kernel answers strangers; that makes none of them known.
TEST_F(PuntTest, who_is_answered_does_not_talk) {
    const Tuple stranger = forged(7, 5'000, 22), ours = turned(stranger);
    for (const int flags : {kSyn | kAck, int{kRst}, kRst | kAck})
        kernel_sends(tcp_frame(ours, static_cast<std::uint8_t>(flags)));
    run({tcp_frame(stranger, kAck)});
    EXPECT_EQ(punted(PuntClass::talking), 0u);
    EXPECT_EQ(punted(PuntClass::tcp), 1u);
    kernel_sends(tcp_frame(ours, kAck));
    run({tcp_frame(stranger, kAck)});
    EXPECT_EQ(punted(PuntClass::talking), 1u);
}

TEST_F(PuntTest, an_advertisement_of_a_neighbour_that_was_asked_has_a_class_of_its_own) {
    const IpAddress us = ip("fd00:1::2"), router = ip("fd00:1::1");
    Bytes message{136, 0, 0, 0, 0x60, 0, 0, 0};
    append(message, router.bytes());
    append(message, Bytes{2, 1, 2, 0, 0, 0, 0, 0xfe});
    const Bytes advertisement = ip_frame({.ttl = 255}, router, us, 58, message, 2);
    run({advertisement, neighbor_solicitation(router, us)});
    EXPECT_EQ(punted(PuntClass::nd), 2u);
    kernel_sends(neighbor_solicitation(us, router));
    run({advertisement, neighbor_solicitation(router, us)});
    EXPECT_EQ(punted(PuntClass::neighbor), 2u);
}

TEST_F(PuntTest, what_the_host_thread_does_not_take_is_dropped_and_counted) {
    std::vector<Bytes> frames;
    for (std::uint32_t n = 0; n < 100; ++n) frames.push_back(udp_frame(forged(n, 9, 99), n));
    host_.room = PuntBuffer::kVitalRoom + 70;
    const std::vector<Bytes> taken = run(frames);
    ASSERT_EQ(taken.size(), 70u);
    EXPECT_TRUE(std::equal(taken.begin(), taken.end(), frames.begin())) << "in order, unchanged";
    EXPECT_EQ(counters_->punted.value(), 70u);
    EXPECT_EQ(punted(PuntClass::udp), 70u);
    EXPECT_EQ(dropped(*counters_, DropReason::punt_full), 30u);
}

TEST_F(PuntTest, the_last_room_is_for_what_a_link_lives_by) {
    const Bytes routing = tcp_frame(forged(1, 9, 179), kAck, 19);
    std::vector<Bytes> frames;
    for (std::uint32_t n = 0; n < 150; ++n) {
        frames.push_back(udp_frame(forged(n, 9, 99), n));
        frames.push_back(routing);
    }
    host_.room = PuntBuffer::kVitalRoom + 22;
    run(frames);
    EXPECT_EQ(punted(PuntClass::bgp), PuntBuffer::kVitalRoom + 11) << "all that there is room for";
    EXPECT_EQ(punted(PuntClass::udp), 11u);
    EXPECT_EQ(dropped(*counters_, DropReason::punt_full), 300u - PuntBuffer::kVitalRoom - 22);
}

TEST_F(PuntTest, verdicts_of_one_burst_do_not_mix) {
    const Tuple own = forged(1, 9, 22);
    std::vector<Bytes> frames;
    for (std::uint32_t n = 0; n < 2 * kBurstSize; ++n) {
        frames.push_back(udp_frame(own, n));
        frames.push_back(udp_frame(client_flow(n, mode_vip(1 + n % kModes, n % 2 == 0))));
        frames.push_back(echo_request(ip("198.18.0.1"), mode_vip(1, false), n));
        frames.push_back(udp_frame(client_flow(n, mode_vip(1, false), 81)));
    }
    const std::vector<Bytes> taken = run(frames);
    EXPECT_EQ(taken.size(), frames.size() / 4);
    EXPECT_EQ(counters_->forwarded.value(), frames.size() / 4);
    EXPECT_EQ(counters_->answered.value(), frames.size() / 4);
    EXPECT_EQ(dropped(*counters_, DropReason::no_service), frames.size() / 4);
    EXPECT_EQ(sent_, frames.size() / 2);
}

// Somebody else claims a VIP: weir's business alone.
TEST_F(PuntTest, arp_about_a_vip_stays_here) {
    Bytes reply = arp_request(ip("10.1.0.1"), mode_vip(1, false));
    reply[21] = 2;
    const std::vector<Bytes> taken = run({arp_request(mode_vip(1, false), mode_vip(1, false)), reply,
                                          arp_request(mode_vip(1, false), ip("10.1.0.2"))});
    EXPECT_EQ(dropped(*counters_, DropReason::arp_not_vip), 2u);
    EXPECT_EQ(taken.size(), 1u) << "a backend that asks for us with the VIP as its source";
}

// Chains: what is classed by its headers needs them whole; what is not goes up as it is.
TEST_F(PuntTest, chains_go_up_whole) {
    const Bytes frame = udp_frame(forged(1, 9, 99), 300);
    for (const std::size_t cut : {34u, 38u, 42u, 100u}) {
        const std::vector<Bytes> taken = run_packets({frames_.chain(frame, {cut})});
        ASSERT_EQ(taken.size(), 1u) << cut;
        EXPECT_EQ(taken[0], frame) << cut;
    }
    EXPECT_EQ(punted(PuntClass::other), 2u) << "ports behind the cut";
    EXPECT_EQ(punted(PuntClass::udp), 2u);
    EXPECT_TRUE(run_packets({frames_.chain(frame, {33})}).empty());
    EXPECT_EQ(dropped(*counters_, DropReason::segmented), 1u);
}

// The same frames on a port without a host interface: nothing goes up.
TEST_F(PuntTest, a_port_without_a_host_interface_punts_nothing) {
    Config config = host_config();
    config.ports[0].host_interface.clear();
    config.services.pop_back();
    world_.reload(std::move(config));
    for (const NamedFrame& frame : frames_of_every_kind())
        EXPECT_TRUE(run({frame.bytes}).empty()) << frame.name;
    for (const Junk& junk : all_junk()) EXPECT_TRUE(run({junk.frame(1)}).empty()) << junk.name;
    EXPECT_EQ(counters_->punted.value(), 0u);
}

}  // namespace
}  // namespace weir::test
