// Ports that DPDK makes from a string: captures, null devices, and strings that are wrong.
#include <unistd.h>

#include <filesystem>

#include "drivers/capture_reader.h"
#include "drivers/capture_writer.h"
#include "drivers/device_name.h"
#include "tests/drivers/eal_fixture.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;

class VirtualPortTest : public DriversTest {
  protected:
    VirtualPortTest() { fs::create_directories(folder_); }
    ~VirtualPortTest() override { fs::remove_all(folder_); }

    std::string path(const std::string& name) const { return (folder_ / name).string(); }

    // A capture of `count` frames of different lengths and contents.
    std::vector<std::vector<std::uint8_t>> write_capture(const std::string& name, std::size_t count) const {
        auto writer = CaptureWriter::create(path(name));
        EXPECT_TRUE(writer) << writer.error().message;
        std::vector<std::vector<std::uint8_t>> frames;
        for (std::size_t i = 0; i < count; ++i) {
            frames.push_back(frame_of(60 + i, static_cast<std::uint8_t>(i)));
            writer->write(1'000'000'000u + i, frames.back());
        }
        EXPECT_TRUE(writer->close());
        return frames;
    }
    std::string refusal(const std::string& device, std::uint16_t queues = 1) {
        const auto port = Port::open(spec("edge", device, queues), pools_);
        if (port) ADD_FAILURE() << "\"" << device << "\" was accepted";
        return port ? "" : port.error().message;
    }

  private:
    fs::path folder_ = fs::temp_directory_path() / ("weir-virtual-port-" + std::to_string(getpid()));
};

TEST_F(VirtualPortTest, a_capture_comes_in_and_a_capture_goes_out) {
    const auto frames = write_capture("in.pcap", 50);
    {
        auto port = Port::open(
            spec("edge", "net_pcap0,rx_pcap=" + path("in.pcap") + ",tx_pcap=" + path("out.pcap")), pools_);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_EQ(port->driver(), "net_pcap");
        EXPECT_TRUE(port->may_receive_chains());
        const RxQueue rx = port->rx_queue(0);
        const TxQueue tx = port->tx_queue(0);
        std::size_t seen = 0;
        for (int polls = 0; polls < 10; ++polls) {
            rte_mbuf* burst[32];
            const auto count = rx.receive(burst);
            for (std::uint16_t i = 0; i < count; ++i) EXPECT_EQ(bytes_of(*burst[i]), frames.at(seen++));
            ASSERT_EQ(tx.send({burst, count}), count);
        }
        EXPECT_EQ(seen, frames.size());
        EXPECT_EQ(port->stats().rx_packets, frames.size());
        EXPECT_EQ(port->stats().tx_packets, frames.size());
    }
    EXPECT_EQ(pools_.in_use(), 0u);
    auto reader = CaptureReader::open(path("out.pcap"));
    ASSERT_TRUE(reader) << reader.error().message;
    for (const auto& expected : frames) {
        const auto frame = reader->next();
        ASSERT_TRUE(frame && *frame);
        EXPECT_EQ(std::vector((*frame)->bytes.begin(), (*frame)->bytes.end()), expected);
    }
    EXPECT_FALSE(reader->next().value());
}

TEST_F(VirtualPortTest, two_workers_read_two_captures) {
    const auto first = write_capture("a.pcap", 3);
    const auto second = write_capture("b.pcap", 5);
    auto port = Port::open(spec("edge",
                                "net_pcap1,rx_pcap=" + path("a.pcap") + ",rx_pcap=" + path("b.pcap") +
                                    ",tx_pcap=" + path("c.pcap") + ",tx_pcap=" + path("d.pcap"),
                                2),
                           pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_EQ(receive_all(port->rx_queue(0)), first);
    EXPECT_EQ(receive_all(port->rx_queue(1)), second);
    EXPECT_FALSE(port->rss().enabled);
    EXPECT_TRUE(says(port->notes().at(0), {"port edge", "net_pcap", "RSS"}));
}

TEST_F(VirtualPortTest, a_capture_longer_than_the_pool_repeats_if_the_pool_knows_of_it) {
    const std::size_t count = frames_needed(small_demand()) + 1;
    {
        auto writer = CaptureWriter::create(path("long.pcap"));
        ASSERT_TRUE(writer) << writer.error().message;
        for (std::size_t i = 0; i < count; ++i) writer->write(i, frame_of(60, static_cast<std::uint8_t>(i)));
        ASSERT_TRUE(writer->close());
    }
    const std::string device = "net_pcap0,infinite_rx=1,rx_pcap=" + path("long.pcap");
    PoolDemand demand = small_demand();
    demand.held_by_devices = held_frames(*parse_device(device, 1, 1500));
    EXPECT_EQ(demand.held_by_devices, count);
    MbufPools pools(demand);
    auto port = Port::open(spec("edge", device), pools);
    ASSERT_TRUE(port) << port.error().message;
    const auto polls = static_cast<int>(2 * count / 32 + 1);
    EXPECT_GE(receive_all(port->rx_queue(0), polls).size(), 2 * count);
}

TEST_F(VirtualPortTest, held_frames_of_several_captures_and_of_none) {
    (void)write_capture("three.pcap", 3);
    (void)write_capture("five.pcap", 5);
    const std::string both = "net_pcap0,rx_pcap=" + path("three.pcap") + ",rx_pcap=" + path("five.pcap");
    EXPECT_EQ(held_frames(*parse_device(both + ",infinite_rx=1", 2, 1500)), 8u);
    EXPECT_EQ(held_frames(*parse_device(both + ",infinite_rx=0", 2, 1500)), 0u);
    EXPECT_EQ(held_frames(*parse_device("net_pcap0,infinite_rx=1,rx_pcap=" + path("none.pcap"), 1, 1500)),
              0u);
    EXPECT_EQ(held_frames(*parse_device("net_ring0", 1, 1500)), 0u);
}

TEST_F(VirtualPortTest, a_device_can_be_opened_again_after_it_was_closed) {
    const auto frames = write_capture("again.pcap", 4);
    for (int round = 0; round < 3; ++round) {
        auto port = Port::open(spec("edge", "net_pcap0,rx_pcap=" + path("again.pcap")), pools_);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_EQ(receive_all(port->rx_queue(0)), frames);
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(VirtualPortTest, a_jumbo_frame_of_a_capture_comes_as_a_chain) {
    const auto jumbo = frame_of(8'900, 9);
    auto writer = CaptureWriter::create(path("jumbo.pcap"));
    ASSERT_TRUE(writer);
    writer->write(0, jumbo);
    ASSERT_TRUE(writer->close());
    auto wanted = spec("edge", "net_pcap0,rx_pcap=" + path("jumbo.pcap"));
    wanted.mtu = 9'001;
    auto port = Port::open(wanted, pools_);
    ASSERT_TRUE(port) << port.error().message;
    rte_mbuf* burst[4];
    ASSERT_EQ(port->rx_queue(0).receive(burst), 1);
    EXPECT_GT(burst[0]->nb_segs, 1);
    EXPECT_EQ(bytes_of(*burst[0]), jumbo);
    rte_pktmbuf_free(burst[0]);
}

TEST_F(VirtualPortTest, too_few_captures_for_the_workers_is_said_before_anything_is_opened) {
    write_capture("one.pcap", 1);
    EXPECT_TRUE(says(refusal("net_pcap0,rx_pcap=" + path("one.pcap"), 2),
                     {"port edge", "1 rx_pcap", "2 workers", "once per worker"}));
    EXPECT_TRUE(
        says(refusal("net_pcap0,rx_pcap=/nonexistent/x.pcap"), {"/nonexistent/x.pcap", "does not exist"}));
}

TEST_F(VirtualPortTest, a_null_device_gives_frames_and_swallows_them) {
    {
        auto port = Port::open(spec("edge", "net_null0,size=64", 2), pools_);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_FALSE(port->rss().enabled);  // it claims RSS and hashes nothing
        const RxQueue rx = port->rx_queue(1);
        const TxQueue tx = port->tx_queue(1);
        rte_mbuf* burst[32];
        ASSERT_EQ(rx.receive(burst), 32);
        EXPECT_EQ(burst[0]->pkt_len, 64u);
        EXPECT_EQ(tx.send(burst), 32);
        EXPECT_EQ(port->stats().tx_packets, 32u);
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(VirtualPortTest, two_ports_on_one_device_are_refused) {
    const auto first = Port::open(spec("edge", "net_null7"), pools_);
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_TRUE(says(refusal("net_null7"), {"another port has device net_null7"}));
}

TEST_F(VirtualPortTest, a_device_that_nobody_knows_is_named_with_what_to_check) {
    EXPECT_TRUE(
        says(refusal("net_nonsense0,x=1"), {"port edge", "net_nonsense0,x=1", "driver's name", "package"}));
    EXPECT_TRUE(says(refusal("nonsense"), {"port edge", "neither a PCI address", "net_", "ip link"}));
    EXPECT_TRUE(says(refusal(""), {"device is empty"}));
}

TEST_F(VirtualPortTest, a_bad_pci_address_is_answered_with_the_form_of_a_good_one) {
    for (const char* bad : {"0000:00:06", "00:6.0", "0000:00:06.9", "0:0:0:0"})
        EXPECT_TRUE(says(refusal(bad), {"port edge", bad, "0000:00:06.0"}));
    EXPECT_TRUE(says(refusal("0000:7f:1f.7"), {"0000:7f:1f.7", "dpdk-devbind.py"}));
    EXPECT_TRUE(says(refusal("7f:1F.7"), {"0000:7f:1f.7"}));
}

TEST_F(VirtualPortTest, an_interface_that_does_not_exist_is_named) {
    EXPECT_TRUE(says(refusal("net_af_packet0,iface=nosuch0"), {"no interface nosuch0", "ip link"}));
    EXPECT_TRUE(says(refusal("net_af_packet0"), {"which interface", "iface="}));
    EXPECT_TRUE(
        says(refusal("net_af_packet0,iface=lo", 2), {"1 queue pair", "net_af_packet0,iface=lo,qpairs=2"}));
}

TEST_F(VirtualPortTest, a_packet_socket_without_the_right_to_it_is_refused_with_the_capabilities) {
    const uid_t self = geteuid();
    if (self == 0) {
        ASSERT_EQ(seteuid(65'534), 0);
    }
    const std::string sentence = refusal("net_af_packet0,iface=lo");
    if (self == 0) {
        ASSERT_EQ(seteuid(0), 0);
    }
    EXPECT_TRUE(says(sentence, {"port edge", "not permitted", "NET_ADMIN and NET_RAW"}));
}

TEST_F(VirtualPortTest, a_device_that_was_refused_after_dpdk_made_it_is_free_again) {
    auto wanted = spec("edge", "net_null3");
    wanted.mac = MacBytes{0x01, 0, 0x5e, 0, 0, 1};
    EXPECT_FALSE(Port::open(wanted, pools_));
    wanted.mac.reset();
    EXPECT_TRUE(Port::open(wanted, pools_));
}

}  // namespace
}  // namespace weir::test
