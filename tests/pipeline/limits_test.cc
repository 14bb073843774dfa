// What a device, an mbuf or a link has no room for: each packet is dropped, counted by its reason and freed.
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

// Of the modes of all_modes_config: what goes before the IP packet, Ethernet aside.
constexpr std::size_t kTunnelLength[kModes] = {0, 20, 40, 20 + 8 + 4, 40 + 8 + 4};
constexpr std::size_t kMtu = 1500;

class LimitsTest : public DriversTest {
  protected:
    std::vector<rte_mbuf*> flows(std::uint32_t first, std::uint32_t count) {
        std::vector<rte_mbuf*> packets;
        for (std::uint32_t n = first; n < first + count; ++n)
            packets.push_back(frames_.frame(udp_frame(client_flow(n, mode_vip(2, false)), 20)));
        return packets;
    }
    // A UDP packet of `ip_length` bytes in all.
    static Bytes packet_of(unsigned mode, bool v6, std::size_t ip_length) {
        return udp_frame(client_flow(7, mode_vip(mode, v6)), ip_length - (v6 ? 48 : 28));
    }
    static std::uint64_t dropped_for_services(SmallWorld& world, DropReason reason) {
        std::uint64_t sum = 0;
        for (std::uint32_t id = 0; id < world.world().ids().service_ids(); ++id)
            sum +=
                world.worker()
                    .counters()
                    .services[id]
                    .dropped[static_cast<std::size_t>(reason) - static_cast<std::size_t>(kFirstServiceReason)]
                    .value();
        return sum;
    }
    FramePool frames_{"limits", 2047};
    SmallWorld world_{all_modes_config(), edge_facts(), 1, 4 * kBurstSize* kBurstSize};
};

TEST_F(LimitsTest, a_full_device_takes_what_it_has_room_for_and_the_rest_is_counted_and_freed) {
    SteppedWorker& worker = world_.worker();
    std::uint64_t taken = 0, refused = 0;
    for (std::uint32_t room = 0; room <= kBurstSize; ++room) {
        worker.wire().room = room;
        worker.run(flows(room * 100, kBurstSize), Tick{1});
        taken += room;
        refused += kBurstSize - room;
        EXPECT_EQ(worker.counters().forwarded.value(), taken);
        EXPECT_EQ(dropped(worker.counters(), DropReason::tx_full), refused);
        EXPECT_EQ(frames_.in_use(), room);
        // The frames that were taken are the first ones.
        std::uint32_t number = room * 100;
        for (const Bytes& frame : worker.take())
            EXPECT_EQ(word_at(frame, 14 + 20 + 20), number++) << "inner source port";
        EXPECT_EQ(number, room * 100 + room);
        EXPECT_EQ(frames_.in_use(), 0u);
        world_.expect_consistent();
    }
    // A refused packet's flow is known all the same: its next packet goes where it would have gone.
    EXPECT_EQ(worker.pipeline().flows().entries(), (kBurstSize + 1) * kBurstSize);
}

TEST_F(LimitsTest, answers_that_the_device_refuses_are_not_counted_as_answered) {
    SteppedWorker& worker = world_.worker();
    std::vector<rte_mbuf*> packets = flows(1, 2);
    packets.insert(packets.begin() + 1, frames_.frame(echo_request(ip("198.18.0.1"), mode_vip(1, false), 9)));
    packets.push_back(frames_.frame(echo_request(ip("198.18.0.1"), mode_vip(1, false), 9)));
    worker.wire().room = 2;
    worker.run(packets, Tick{1});
    EXPECT_EQ(worker.counters().forwarded.value(), 1u);
    EXPECT_EQ(worker.counters().answered.value(), 1u);
    EXPECT_EQ(dropped(worker.counters(), DropReason::tx_full), 2u);
    EXPECT_EQ(worker.take().size(), 2u);
    EXPECT_EQ(frames_.in_use(), 0u);
    world_.expect_consistent();
}

TEST_F(LimitsTest, a_disabled_port_gets_no_frame_and_keeps_its_flows) {
    SteppedWorker& worker = world_.worker();
    const auto set_enabled = [&](bool enabled) {
        world_.world().set_port_enabled(PortId{0}, enabled);
        EXPECT_EQ(world_.world().republish().work.records, 0u) << "nothing is compiled again for it";
        world_.latch_all();
    };
    worker.run(flows(1, 10), Tick{1});
    EXPECT_EQ(worker.take().size(), 10u);
    set_enabled(false);
    std::vector<rte_mbuf*> packets = flows(1, 10);
    packets.push_back(frames_.frame(echo_request(ip("198.18.0.1"), mode_vip(1, false), 9)));
    worker.run(packets, Tick{2});
    EXPECT_EQ(dropped(worker.counters(), DropReason::port_down), 11u);
    EXPECT_EQ(worker.take().size(), 0u);
    EXPECT_EQ(frames_.in_use(), 0u);
    set_enabled(true);
    worker.run(flows(1, 10), Tick{3});
    EXPECT_EQ(worker.take().size(), 10u);
    EXPECT_EQ(worker.counters().flow_inserts.value(), 10u);
    world_.expect_consistent();
}

TEST_F(LimitsTest, without_a_known_mac_nothing_is_sent_and_the_service_says_why) {
    Config config = all_modes_config();
    config.neighbors.clear();
    SmallWorld world(std::move(config), edge_facts(), 1, 4096, false);
    SteppedWorker& worker = world.worker();
    std::vector<rte_mbuf*> packets;
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true}) packets.push_back(frames_.frame(packet_of(mode, v6, 100)));
    worker.run(packets, Tick{1});
    EXPECT_EQ(dropped(worker.counters(), DropReason::no_neighbor), 2 * kModes);
    EXPECT_EQ(dropped_for_services(world, DropReason::no_neighbor), 2 * kModes);
    EXPECT_EQ(worker.take().size(), 0u);
    EXPECT_EQ(frames_.in_use(), 0u);
    world.expect_consistent();
}

TEST_F(LimitsTest, tunnel_headers_need_exactly_their_length_of_headroom) {
    SteppedWorker& worker = world_.worker();
    std::uint64_t without_room = 0;
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true}) {
            const std::size_t needed = kTunnelLength[mode - 1];
            const Bytes frame = packet_of(mode, v6, 200);
            rte_mbuf* plain = frames_.frame(frame);
            worker.run({&plain, 1}, Tick{1});
            const std::vector<Bytes> expected = worker.take();
            ASSERT_EQ(expected.size(), 1u);
            for (std::size_t headroom = needed == 0 ? 0 : needed - 1; headroom <= needed + 1; ++headroom) {
                rte_mbuf* packet = frames_.frame(frame);
                packet->data_off = static_cast<std::uint16_t>(headroom);
                std::copy(frame.begin(), frame.end(), rte_pktmbuf_mtod(packet, std::uint8_t*));
                worker.run({&packet, 1}, Tick{1});
                if (headroom < needed) {
                    ++without_room;
                    EXPECT_TRUE(worker.take().empty());
                } else {
                    EXPECT_EQ(worker.take(), expected) << "mode " << mode << ", headroom " << headroom;
                }
                EXPECT_EQ(frames_.in_use(), 0u);
            }
        }
    EXPECT_EQ(without_room, 8u);  // four tunnels, two families
    EXPECT_EQ(dropped(worker.counters(), DropReason::no_headroom), without_room);
    EXPECT_EQ(dropped_for_services(world_, DropReason::no_headroom), without_room);
    world_.expect_consistent();
}

TEST_F(LimitsTest, the_longest_packet_that_fits_the_mtu_passes_and_one_byte_more_is_too_big) {
    SteppedWorker& worker = world_.worker();
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true}) {
            const std::size_t longest = kMtu - kTunnelLength[mode - 1];
            const std::uint64_t before = dropped(worker.counters(), DropReason::too_big);
            for (const std::size_t length : {longest - 1, longest, longest + 1}) {
                rte_mbuf* packet = frames_.frame(packet_of(mode, v6, length));
                worker.run({&packet, 1}, Tick{1});
                const std::vector<Bytes> sent = worker.take();
                ASSERT_EQ(sent.size(), length > longest ? 0u : 1u) << "mode " << mode << ", " << length;
                if (!sent.empty()) {
                    EXPECT_EQ(sent[0].size(), 14 + kTunnelLength[mode - 1] + length);
                }
            }
            EXPECT_EQ(dropped(worker.counters(), DropReason::too_big), before + 1);
        }
    EXPECT_EQ(dropped_for_services(world_, DropReason::too_big), kModes * 2);
    EXPECT_EQ(frames_.in_use(), 0u);
    world_.expect_consistent();
}

// DSR changes the two MACs and nothing else (N-11), padding included; a tunnel carries the IP packet as it
// was.
TEST_F(LimitsTest, what_is_not_the_outer_header_leaves_unchanged) {
    SteppedWorker& worker = world_.worker();
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true})
            for (const std::size_t length : {60u, 61u, 576u, 1400u}) {
                const Bytes frame = packet_of(mode, v6, length);
                Bytes padded = frame;
                padded.resize(frame.size() + 5, 0x77);
                rte_mbuf* packet = frames_.frame(padded);
                worker.run({&packet, 1}, Tick{1});
                const std::vector<Bytes> sent = worker.take();
                ASSERT_EQ(sent.size(), 1u);
                const std::size_t tunnel = kTunnelLength[mode - 1];
                const Bytes& kept = mode == 1 ? padded : frame;
                ASSERT_EQ(sent[0].size(), tunnel + kept.size());
                EXPECT_TRUE(
                    std::equal(kept.begin() + (mode == 1 ? 12 : 14), kept.end(),
                               sent[0].begin() + static_cast<std::ptrdiff_t>(mode == 1 ? 12 : 14 + tunnel)));
                EXPECT_TRUE(
                    std::equal(sent[0].begin() + 6, sent[0].begin() + 12, edge_facts()[0].mac.bytes.begin()));
            }
}

}  // namespace
}  // namespace weir::test
