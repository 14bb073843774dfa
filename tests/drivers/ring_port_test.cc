// Ports over rings: what goes in comes out, queue by queue, and nothing leaks.
#include "tests/drivers/eal_fixture.h"
#include "tests/support/ring_wires.h"

namespace weir::test {
namespace {

using RingPortTest = DriversTest;

TEST_F(RingPortTest, two_queues_carry_frames_both_ways_and_give_every_mbuf_back) {
    RingWires wires("wires_both_ways");
    {
        auto port = Port::adopt(wires.ethdev, spec("edge", "", 2), pools_);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_EQ(port->driver(), "net_ring");
        EXPECT_TRUE(port->can_send_chains());
        EXPECT_TRUE(port->link_up());
        for (std::uint16_t queue = 0; queue < 2; ++queue) {
            const auto sent = frame_of(60 + queue, static_cast<std::uint8_t>(queue * 100));
            ASSERT_EQ(rte_ring_enqueue(wires.in[queue], to_mbuf(*port->pool(), sent)), 0);
            const RxQueue rx = port->rx_queue(queue);
            const TxQueue tx = port->tx_queue(queue);
            rte_mbuf* burst[32];
            ASSERT_EQ(rx.receive(burst), 1);
            EXPECT_EQ(bytes_of(*burst[0]), sent);
            ASSERT_EQ(tx.send({burst, 1}), 1);
            void* out = nullptr;
            ASSERT_EQ(rte_ring_dequeue(wires.out[queue], &out), 0);
            EXPECT_EQ(bytes_of(*static_cast<rte_mbuf*>(out)), sent);
            rte_pktmbuf_free(static_cast<rte_mbuf*>(out));
        }
        const PortStats stats = port->stats();
        EXPECT_EQ(stats.rx_packets, 2u);
        EXPECT_EQ(stats.tx_packets, 2u);
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(RingPortTest, more_workers_than_queues_is_refused_with_what_to_change) {
    RingWires wires("wires_shortage");
    const auto port = Port::adopt(wires.ethdev, spec("edge", "", 3), pools_);
    ASSERT_FALSE(port);
    EXPECT_TRUE(says(port.error().message,
                     {"port edge", "net_ring has 2", "3 workers", "lower dataplane.workers to 2"}));
    EXPECT_EQ(port.error().cause, Error::Cause::operator_mistake);
}

TEST_F(RingPortTest, a_full_ring_refuses_and_the_refused_frames_stay_the_senders) {
    RingWires wires("wires_full");
    auto port = Port::adopt(wires.ethdev, spec("edge", "", 1), pools_);
    ASSERT_TRUE(port) << port.error().message;
    const TxQueue tx = port->tx_queue(0);
    std::vector<rte_mbuf*> frames(300);
    for (auto& frame : frames) frame = to_mbuf(*port->pool(), frame_of(60, 1));
    const auto taken = tx.send(frames);
    EXPECT_EQ(taken, 255);  // a ring of 256 holds one less
    for (std::size_t i = taken; i < frames.size(); ++i) rte_pktmbuf_free(frames[i]);
    for (void* out = nullptr; rte_ring_dequeue(wires.out[0], &out) == 0;)
        rte_pktmbuf_free(static_cast<rte_mbuf*>(out));
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(RingPortTest, the_configured_mac_is_the_ports_and_without_one_a_stable_local_one) {
    RingWires wires("wires_mac");
    auto wanted = spec("edge", "");
    wanted.index = 3;
    {
        const auto port = Port::adopt(wires.ethdev, wanted, pools_);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_EQ(port->mac(), (MacBytes{0x02, 'w', 'e', 'i', 'r', 3}));
        EXPECT_TRUE(says(port->notes().at(0), {"port edge", "no MAC address"}));
    }
    RingWires others("wires_mac_set");
    wanted.mac = MacBytes{0x02, 0, 0, 0, 0, 0x17};
    const auto port = Port::adopt(others.ethdev, wanted, pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_EQ(port->mac(), *wanted.mac);
    EXPECT_TRUE(port->notes().empty());
}

TEST_F(RingPortTest, a_group_address_as_mac_is_refused) {
    RingWires wires("wires_group");
    auto wanted = spec("edge", "");
    wanted.mac = MacBytes{0x01, 0, 0x5e, 0, 0, 1};
    const auto port = Port::adopt(wires.ethdev, wanted, pools_);
    ASSERT_FALSE(port);
    EXPECT_TRUE(says(port.error().message, {"01:00:5E:00:00:01", "unicast"}));
}

TEST_F(RingPortTest, a_queue_is_handed_out_once) {
    RingWires wires("wires_once");
    auto port = Port::adopt(wires.ethdev, spec("edge", "", 2), pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_EQ(port->rx_queue(1).queue, 1);
    EXPECT_EXIT(static_cast<void>(port->rx_queue(1)), ::testing::KilledBySignal(SIGABRT), "rx_taken_");
    EXPECT_EXIT(static_cast<void>(port->tx_queue(2)), ::testing::KilledBySignal(SIGABRT), "queues");
}

TEST_F(RingPortTest, counters_of_the_device_have_names_for_prometheus) {
    RingWires wires("wires_counters");
    auto port = Port::adopt(wires.ethdev, spec("edge", "", 2), pools_);
    ASSERT_TRUE(port) << port.error().message;
    ASSERT_EQ(rte_ring_enqueue(wires.in[1], to_mbuf(*port->pool(), frame_of(60, 1))), 0);
    EXPECT_EQ(receive_all(port->rx_queue(1)).size(), 1u);
    std::uint64_t on_queue_1 = 0;
    for (const auto& [name, value] : port->nic_counters()) {
        EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string::npos) << name;
        EXPECT_NE(name, "rx_good_packets");
        if (name == "rx_q1_packets") on_queue_1 = value;
    }
    EXPECT_EQ(on_queue_1, 1u);
}

}  // namespace
}  // namespace weir::test
