// Sticky clients over several workers, step by step: whose table decides, what travels, and what happens when
// a ring is full, a table is full, or the pool changes between two packets.
#include <set>

#include "tests/dataplane/figure.h"
#include "tests/support/sticky_world.h"

namespace weir::test {
namespace {

constexpr unsigned kWorkers = 3;

TEST_F(StickyTest, a_client_keeps_its_backend_wherever_its_flows_come_in_and_whatever_joins) {
    for (const unsigned workers : {1u, 2u, 3u}) {
        start(sticky_config({1, 2}), workers);
        std::map<std::uint32_t, unsigned> home;
        Tick now{1000};
        for (std::uint32_t client = 0; client < 50; ++client)
            home[client] = send(client % workers, tcp_frame(flow(client, 1), kSyn), now);
        for (std::uint16_t port = 2; port < 42; ++port) {
            if (port % 8 == 0) world_->reload(sticky_config({1, 2, port + 1u, port + 2u, port + 3u}));
            now = now + kMinute;
            for (const auto& [client, backend] : home) {
                const Tuple tuple = flow(client, port);
                ASSERT_EQ(send((client + port) % workers, tcp_frame(tuple, kSyn), now), backend);
                ASSERT_EQ(send((client + port) % workers, tcp_frame(tuple, kAck), now), backend);
            }
        }
        EXPECT_EQ(sum(&WorkerCounters::sticky_entries), 50u);
        EXPECT_EQ(sum(&WorkerCounters::sticky_inserts), 50u);
        EXPECT_EQ(sum(&WorkerCounters::sticky_bypassed), 0u);
        const std::uint64_t travelled = sum(&WorkerCounters::sticky_handed_over);
        EXPECT_NEAR(static_cast<double>(travelled), 50.0 * 41 * (workers - 1) / workers,
                    workers == 1 ? 0 : 400);
        print_figure(
            "%u workers: 50 clients, 41 flows each over 5 pool changes: %llu of 4050 packets handed over",
            workers, static_cast<unsigned long long>(travelled));
        expect_sums();
        world_.reset();
        sent_ = 0;
    }
}

TEST_F(StickyTest, the_duration_slides_with_each_new_flow_and_ends_to_the_tick) {
    const Config both = sticky_config({1, 2}), second = sticky_config({2});
    start(both, 2);
    const std::uint32_t client = client_between(1, 2, second);
    world_->reload(second);
    Tick now{0xffff'8000};  // the clock wraps on the way
    std::uint16_t port = 0;
    const auto opens = [&](unsigned worker) {
        return send(worker, tcp_frame(flow(client, ++port), kSyn), now);
    };
    EXPECT_EQ(opens(0), 2u);
    world_->reload(both);
    ASSERT_EQ(by_maglev(flow(client, 1)), 1u);
    for (int n = 0; n < 4; ++n) {
        now = now + 20 * kTicksPerSecond;  // less than the sixteenth by which flows' deadlines are coarse
        EXPECT_EQ(opens(n % 2), 2u);
        now = now + (kDuration - 1);
        EXPECT_EQ(opens(n % 2), 2u);
    }
    // Packets of known flows do not count.
    constexpr TickCount kLater = 5 * kTicksPerSecond;
    now = now + kLater;
    EXPECT_EQ(send(1, tcp_frame(flow(client, port), kAck), now), 2u);
    now = now + (kDuration - kLater);
    EXPECT_EQ(opens(1), 1u) << "as a new client";
    EXPECT_EQ(opens(0), 1u);
}

TEST_F(StickyTest, packets_in_flight_of_one_flow_stay_together_over_a_change) {
    const Config both = sticky_config({1, 2}), second = sticky_config({2});
    start(both);
    const std::uint32_t client = client_between(1, 2, second);
    const Tuple tuple = flow(client, 7);
    const auto [origin, owner] = pair_for(tuple);
    const Tick now{50};
    // The owner has chosen 1; before the packets are back, 1 has left the pool (it drains).
    for (const std::uint8_t flags : {kSyn, kAck, kAck, std::uint8_t{kFin | kAck}})
        give(origin, tcp_frame(tuple, flags), now);
    EXPECT_EQ(world_->rings()->held(owner), 4u);
    EXPECT_EQ(world_->worker(owner).take_over(now), 4u);
    EXPECT_EQ(world_->rings()->held(origin), 4u);
    world_->reload(second);
    give(origin, tcp_frame(tuple, kAck), now);  // overtakes: it asks for itself
    world_->empty_rings(now);
    EXPECT_EQ(take(origin), (std::vector<unsigned>{2, 2, 2, 2, 2}));
    // And back again while the first packet is under way.
    const Tuple other = flow(client, 8);
    give(origin, tcp_frame(other, kSyn), now);
    world_->worker(owner).take_over(now);
    world_->reload(both);
    give(origin, tcp_frame(other, kAck), now);
    world_->empty_rings(now);
    EXPECT_EQ(take(origin), (std::vector<unsigned>{2, 2}));
    EXPECT_EQ(world_->worker(origin).counters().services[0].new_flows.value(), 2u);
    EXPECT_EQ(world_->worker(owner).counters().services[0].new_flows.value(), 0u);
    EXPECT_EQ(world_->worker(origin).counters().services[0].packets.value(), 7u) << "counted once";
    EXPECT_EQ(world_->worker(owner).pipeline().flows().entries(), 0u);
}

TEST_F(StickyTest, a_full_ring_is_answered_by_the_hash_and_counted) {
    start(sticky_config({1, 2, 3}));
    const auto [origin, owner] = pair_for(flow(1, 1));
    constexpr std::uint16_t kFlows = WorkerRings::kFrames + 88;
    for (std::uint16_t port = 1; port <= kFlows; ++port) give(origin, udp_frame(flow(1, port)), Tick{1});
    const WorkerCounters& counters = world_->worker(origin).counters();
    EXPECT_EQ(counters.sticky_handed_over.value(), WorkerRings::kFrames);
    EXPECT_EQ(counters.sticky_bypassed.value(), 88u);
    EXPECT_EQ(counters.forwarded.value(), 88u);
    world_->empty_rings(Tick{1});
    const std::vector<unsigned> went = take(origin);
    EXPECT_EQ(went.size(), kFlows);
    EXPECT_EQ(std::set<unsigned>(went.begin(), went.end()), std::set<unsigned>{by_maglev(flow(1, 1))});
    EXPECT_EQ(counters.services[0].new_flows.value(), kFlows);
}

TEST_F(StickyTest, what_cannot_be_returned_is_forwarded_by_the_owner) {
    start(sticky_config({1, 2, 3}));
    const Tuple tuple = flow(1, 1);
    const auto [origin, owner] = pair_for(tuple);
    give(origin, udp_frame(tuple), Tick{1});
    world_->rings()->close(origin);
    EXPECT_EQ(world_->worker(owner).take_over(Tick{1}), 1u);
    EXPECT_EQ(take(owner), (std::vector<unsigned>{by_maglev(tuple)}));
    // A worker that stops asks nobody any more, and nobody asks it.
    EXPECT_EQ(send(origin, udp_frame(flow(1, 2)), Tick{1}), by_maglev(tuple));
    EXPECT_EQ(world_->worker(origin).counters().sticky_bypassed.value(), 1u);
    world_->rings()->close(owner);
    const unsigned third = 3 - origin - owner;
    EXPECT_EQ(send(third, udp_frame(flow(1, 3)), Tick{1}), by_maglev(tuple));
    EXPECT_EQ(world_->worker(third).counters().sticky_bypassed.value(), 1u);
}

TEST_F(StickyTest, packets_that_nobody_took_are_freed_with_the_rings) {
    start(sticky_config({1, 2}));
    const auto [origin, owner] = pair_for(flow(1, 1));
    for (std::uint16_t port = 1; port <= 100; ++port) give(origin, udp_frame(flow(1, port)), Tick{1});
    EXPECT_EQ(world_->rings()->held(owner), 100u);
    world_.reset();
    EXPECT_EQ(frames_.in_use(), 0u);
}

TEST_F(StickyTest, a_packet_that_begins_no_flow_leaves_no_trace) {
    const Config both = sticky_config({1, 2}), second = sticky_config({2});
    start(both);
    const std::uint32_t client = client_between(1, 2, second);
    for (unsigned w = 0; w < kWorkers; ++w) EXPECT_EQ(send(w, tcp_frame(flow(client, 9), kRst), Tick{1}), 1u);
    EXPECT_EQ(sum(&WorkerCounters::sticky_entries), 0u);
    EXPECT_EQ(sum(&WorkerCounters::flow_inserts), 0u);
    world_->reload(second);
    EXPECT_EQ(send(0, tcp_frame(flow(client, 10), kSyn), Tick{1}), 2u);
    world_->reload(both);
    for (unsigned w = 0; w < kWorkers; ++w)
        EXPECT_EQ(send(w, tcp_frame(flow(client, 9), kFin | kAck), Tick{1}), 2u)
            << "goes where the client is";
}

TEST_F(StickyTest, a_backend_without_new_flows_loses_its_clients_and_keeps_their_flows) {
    Config config = sticky_config({1, 2, 3});
    start(config, 2);
    std::map<std::uint32_t, unsigned> home;
    for (std::uint32_t client = 0; client < 60; ++client) {
        home[client] = send(0, tcp_frame(flow(client, 1), kSyn), Tick{1});
        send(0, tcp_frame(flow(client, 1), kAck), Tick{1});
    }
    config.pools[0].backends.change()[0].weight = 0;  // 10.1.1.1 drains
    world_->reload(config);
    unsigned moved = 0;
    for (const auto& [client, backend] : home) {
        EXPECT_EQ(send(0, tcp_frame(flow(client, 1), kAck), Tick{2}), backend) << "a known flow";
        const unsigned next = send(1, tcp_frame(flow(client, 2), kSyn), Tick{2});
        EXPECT_NE(next, 1u);
        if (backend != 1) {
            EXPECT_EQ(next, backend);
            continue;
        }
        ++moved;
        // A flow that had ended and begins again is a new one.
        EXPECT_EQ(send(0, tcp_frame(flow(client, 1), kFin | kAck), Tick{3}), 1u);
        EXPECT_EQ(send(0, tcp_frame(flow(client, 1), kSyn), Tick{3}), next);
    }
    EXPECT_GT(moved, 5u);
    config.pools[0].backends.change()[0].weight = 1;
    world_->reload(config);
    for (const auto& [client, backend] : home)
        EXPECT_EQ(send(0, tcp_frame(flow(client, 3), kSyn), Tick{4}) == 1, false)
            << "a client that was moved stays where it is";
}

TEST_F(StickyTest, the_sweep_forgets_clients_of_absent_backends_before_an_id_is_used_again) {
    start(sticky_config({1, 2}), 1);
    for (std::uint32_t client = 0; client < 40; ++client) send(0, tcp_frame(flow(client, 1), kSyn), Tick{1});
    const std::uint64_t sweeps = world_->worker().counters().flow_sweeps.value();
    for (const auto& known : world_->world().ids().find_pool("web")->backends)
        if (known.name == "b1") world_->world().set_eligible(known.id, false);
    world_->world().republish();
    world_->latch_all();
    world_->worker().sweep(Tick{2}, world_->worker().pipeline().flows().buckets());
    EXPECT_EQ(world_->worker().counters().sticky_entries.value(), 40u) << "the flow table comes first";
    EXPECT_EQ(world_->worker().counters().flow_sweeps.value(), sweeps) << "and is half of the sweep";
    world_->worker().sweep(Tick{2}, 4096);
    EXPECT_LT(world_->worker().counters().sticky_entries.value(), 40u);
    EXPECT_GE(world_->worker().counters().flow_sweeps.value(), sweeps + 1);
    world_->worker().sweep(Tick{2} + kDuration, 2 * 4096);
    EXPECT_EQ(world_->worker().counters().sticky_entries.value(), 0u);
}

TEST_F(StickyTest, a_full_table_forwards_by_hash_and_keeps_who_came_again) {
    start(sticky_config({1, 2, 3}), 1, 1000);
    std::map<std::uint32_t, unsigned> home;
    for (std::uint32_t client = 0; client < 500; ++client)
        for (std::uint16_t port = 1; port <= 2; ++port)
            home[client] = send(0, udp_frame(flow(client, port)), Tick{1});
    for (std::uint32_t client = 1000; client < 11'000; ++client) {  // a flood of clients of one flow
        const Tuple tuple = flow(client, 1);
        ASSERT_EQ(send(0, tcp_frame(tuple, kSyn), Tick{2}), by_maglev(tuple));
    }
    EXPECT_LE(sum(&WorkerCounters::sticky_entries), 1000u);
    EXPECT_GT(sum(&WorkerCounters::sticky_evictions), 9'000u);
    world_->reload(sticky_config({1, 2, 3, 4, 5, 6}));
    for (const auto& [client, backend] : home)
        EXPECT_EQ(send(0, udp_frame(flow(client, 3)), Tick{3}), backend);
    for (std::uint32_t client = 20'000; client < 21'500; ++client)
        for (std::uint16_t port = 1; port <= 2; ++port)
            ASSERT_NE(send(0, udp_frame(flow(client, port)), Tick{3}), 0u);
    EXPECT_GT(sum(&WorkerCounters::sticky_full), 500u) << "of clients that all come again";
}

TEST_F(StickyTest, neighbours_of_a_prefix_are_one_client) {
    start(sticky_config({1, 2, 3, 4, 5}, 24));
    std::map<std::uint32_t, unsigned> home, home6;
    for (std::uint32_t n = 0; n < 600; ++n) {
        Tuple tuple = flow(0, static_cast<std::uint16_t>(n));
        tuple.source = ip("198.51." + std::to_string(n % 60) + "." + std::to_string(n / 60 + 1));
        const unsigned went = send(n % kWorkers, udp_frame(tuple), Tick{1});
        EXPECT_EQ(home.try_emplace(n % 60, went).first->second, went);
        tuple = flow(0, static_cast<std::uint16_t>(n), true);
        tuple.source = ip("2001:db8:5:" + std::to_string(n % 60) + "::" + std::to_string(n / 60 + 1));
        const unsigned went6 = send(n % kWorkers, udp_frame(tuple), Tick{1});
        EXPECT_EQ(home6.try_emplace(n % 60, went6).first->second, went6);
    }
    EXPECT_EQ(sum(&WorkerCounters::sticky_entries), 120u);
    std::set<unsigned> used;
    for (const auto& [net, backend] : home) used.insert(backend);
    EXPECT_EQ(used.size(), 5u);
}

TEST_F(StickyTest, a_pool_without_backends_drops_and_stores_nothing) {
    Config config = sticky_config({1});
    config.pools[0].backends.change()[0].weight = 0;
    start(config);
    for (unsigned w = 0; w < kWorkers; ++w) EXPECT_EQ(send(w, tcp_frame(flow(1, 1), kSyn), Tick{1}), 0u);
    EXPECT_EQ(sum(&WorkerCounters::sticky_entries), 0u);
    std::uint64_t drops = 0;
    for (unsigned w = 0; w < kWorkers; ++w)
        drops += dropped(world_->worker(w).counters(), DropReason::no_backend);
    EXPECT_EQ(drops, kWorkers);
}

TEST_F(StickyTest, the_service_may_go_while_its_packet_travels) {
    start(sticky_config({1, 2}));
    const Tuple tuple = flow(1, 1);
    const auto [origin, owner] = pair_for(tuple);
    give(origin, udp_frame(tuple), Tick{1});
    Config config = sticky_config({1, 2});
    config.services.erase(config.services.begin());
    world_->reload(config);
    world_->empty_rings(Tick{1});
    EXPECT_TRUE(take(origin).empty());
    EXPECT_EQ(dropped(world_->worker(origin).counters(), DropReason::not_vip), 1u);
}

TEST_F(StickyTest, workers_without_a_table_choose_by_prefix_alone) {
    start(sticky_config({1, 2, 3}), 2, 0);
    for (std::uint32_t client = 0; client < 50; ++client)
        for (unsigned w = 0; w < 2; ++w) {
            const Tuple tuple = flow(client, static_cast<std::uint16_t>(w));
            EXPECT_EQ(send(w, udp_frame(tuple), Tick{1}), by_maglev(tuple));
        }
}

}  // namespace
}  // namespace weir::test
