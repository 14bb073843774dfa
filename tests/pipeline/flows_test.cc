// What the pipeline makes of flows over time: full tables and floods (reliability cases F-1, F-2), timeouts,
// draining and absent backends. Whether a flow is known shows by where its next packet goes, after every old
// backend has lost its weight and new ones have come: only known flows still go to the old ones.
#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

constexpr std::uint32_t kOld = 0x0a01'0100, kNew = 0x0a01'0200;  // 10.1.1.0/24, 10.1.2.0/24

BackendConfig numbered(const char* name, std::uint32_t network, unsigned n, unsigned weight) {
    return backend(name + std::to_string(n),
                   "10.1." + std::to_string(network >> 8 & 0xff) + "." + std::to_string(n), weight);
}

// Four old backends and `new_weight` x four new ones behind 203.0.113.10:80, TCP and UDP, over IPIP.
Config generations(unsigned old_weight, unsigned new_weight) {
    Config config = edge_config();
    std::vector<BackendConfig> backends;
    for (unsigned n = 1; n <= 4; ++n) backends.push_back(numbered("old", kOld, n, old_weight));
    for (unsigned n = 1; n <= 4; ++n) backends.push_back(numbered("new", kNew, n, new_weight));
    config.pools = {pool("web", std::move(backends))};
    config.pools[0].table_size = 1009;
    config.services = {service("web", "203.0.113.10", "web")};
    config.services[0].udp = true;
    using std::chrono::seconds;
    config.timeouts = {seconds(3), seconds(20), seconds(5), seconds(7)};
    return config;
}
const Config& old_serve() {
    static const Config config = generations(1, 0);
    return config;
}
const Config& new_serve() {
    static const Config config = generations(0, 1);
    return config;
}

std::uint32_t outer_destination(const Bytes& frame) {
    return std::uint32_t{word_at(frame, 30)} << 16 | word_at(frame, 32);
}
bool is_old(std::uint32_t backend) { return (backend & 0xffff'ff00) == kOld; }

class FlowsTest : public DriversTest {
  protected:
    static Tuple flow(std::uint32_t number) { return client_flow(number, ip("203.0.113.10")); }
    // Where the packet went; 0 if it was dropped.
    std::uint32_t send(SmallWorld& world, const Bytes& frame, Tick now) {
        rte_mbuf* packet = frames_.frame(frame);
        world.worker().run({&packet, 1}, now);
        const std::vector<Bytes> sent = world.worker().take();
        EXPECT_EQ(frames_.in_use(), 0u);
        return sent.empty() ? 0 : outer_destination(sent[0]);
    }
    FramePool frames_{"flows", 511};
};

TEST_F(FlowsTest, a_full_table_forwards_every_packet_by_its_hash) {
    constexpr std::uint64_t kFlows = 2000;
    SmallWorld world(old_serve(), edge_facts(), 1, kFlows);
    const FlowTable& table = world.worker().pipeline().flows();
    const WorkerCounters& counters = world.worker().counters();
    std::uint32_t number = 0;
    const auto confirmed_flow = [&] {
        const std::uint32_t first = send(world, udp_frame(flow(number)), Tick{5});
        const std::uint32_t second = send(world, udp_frame(flow(number)), Tick{5});
        ++number;
        ASSERT_TRUE(is_old(first));
        ASSERT_EQ(first, second);
    };
    for (; number < 11 * kFlows;) confirmed_flow();
    const double load = 100.0 * static_cast<double>(table.entries()) / static_cast<double>(table.capacity());
    EXPECT_GE(load, 99.0);
    EXPECT_EQ(counters.forwarded.value(), 22 * kFlows);
    EXPECT_EQ(dropped_in_all(counters), 0u);
    EXPECT_GE(counters.flow_full.value(), 2 * 9 * kFlows);
    EXPECT_EQ(counters.flow_inserts.value() - counters.flow_evictions.value(), table.entries());
    EXPECT_EQ(counters.flow_entries.value(), table.entries());
    world.expect_consistent();
    print_figure(
        "11 tables full of confirmed flows: %.1f %% load, %llu of %llu packets forwarded, %llu by hash alone",
        load, static_cast<unsigned long long>(counters.forwarded.value()),
        static_cast<unsigned long long>(counters.received.value()),
        static_cast<unsigned long long>(counters.flow_full.value()));
}

TEST_F(FlowsTest, a_syn_flood_of_ten_tables_moves_no_confirmed_flow) {
    constexpr std::uint64_t kFlows = 8000;
    constexpr std::uint32_t kConfirmed = 1000, kFlood = 10 * kFlows;
    SmallWorld world(old_serve(), edge_facts(), 1, kFlows);
    std::vector<std::uint32_t> home;
    for (std::uint32_t n = 0; n < kConfirmed; ++n) {
        home.push_back(send(world, tcp_frame(flow(n), kSyn), Tick{1}));
        ASSERT_EQ(send(world, tcp_frame(flow(n), kAck), Tick{1}), home.back());
    }
    world.reload(new_serve());  // from here on a flow that is lost moves
    std::uint64_t sent = 0, moved = 0, flooded_to_old = 0;
    for (std::uint32_t n = 0; n < kFlood; ++n) {
        const Tick now{1 + n / 500};  // 2.5 s in all: no entry of the flood expires
        flooded_to_old += is_old(send(world, tcp_frame(flow(0x10'0000 + n), kSyn), now)) ? 1 : 0;
        if (n % 8 != 0) continue;
        const std::uint32_t known = n / 8 % kConfirmed;
        moved += send(world, tcp_frame(flow(known), kAck, 10), now) != home[known] ? 1 : 0;
        ++sent;
    }
    EXPECT_EQ(moved, 0u);
    EXPECT_EQ(flooded_to_old, 0u);
    const WorkerCounters& counters = world.worker().counters();
    EXPECT_EQ(counters.forwarded.value(), counters.received.value());
    EXPECT_GT(counters.flow_evictions.value(), kFlood / 2);
    world.expect_consistent();
    print_figure("SYN flood of %u over a table of %u: %llu packets of %u confirmed flows, %llu moved", kFlood,
                 static_cast<unsigned>(kFlows), static_cast<unsigned long long>(sent), kConfirmed,
                 static_cast<unsigned long long>(moved));
}

// The same for a flood of segments that belong to nothing, and of datagrams (F-4).
TEST_F(FlowsTest, floods_of_other_first_packets_move_no_confirmed_flow) {
    constexpr std::uint64_t kFlows = 2000;
    for (const std::uint8_t flags : {kAck, kFin, kRst, std::uint8_t{0xff}}) {  // 0xff: UDP
        SmallWorld world(old_serve(), edge_facts(), 1, kFlows);
        std::vector<std::uint32_t> home;
        for (std::uint32_t n = 0; n < 200; ++n) {
            home.push_back(send(world, udp_frame(flow(n)), Tick{1}));
            ASSERT_EQ(send(world, udp_frame(flow(n)), Tick{1}), home.back());
        }
        world.reload(new_serve());
        for (std::uint32_t n = 0; n < 10 * kFlows; ++n) {
            const Tuple tuple = flow(0x10'0000 + n);
            ASSERT_FALSE(
                is_old(send(world, flags == 0xff ? udp_frame(tuple) : tcp_frame(tuple, flags), Tick{2})));
        }
        for (std::uint32_t n = 0; n < 200; ++n) EXPECT_EQ(send(world, udp_frame(flow(n)), Tick{3}), home[n]);
        world.expect_consistent();
    }
}

struct Lifetime {
    const char* name;
    std::vector<std::uint8_t> flags;  // of its segments; empty: UDP
    unsigned datagrams;
    TickCount timeout;
};

TEST_F(FlowsTest, each_state_lasts_exactly_its_timeout_also_over_the_wrap_of_the_clock) {
    constexpr TickCount kOpening = 3 * 64, kEstablished = 20 * 64, kClosing = 5 * 64, kUdp = 7 * 64;
    const Lifetime lifetimes[] = {
        {"SYN", {kSyn}, 0, kOpening},
        {"repeated SYN", {kSyn, kSyn}, 0, kOpening},
        {"segment in mid-flow", {kAck}, 0, kOpening},
        {"established", {kSyn, kAck}, 0, kEstablished},
        {"FIN", {kSyn, kAck, kFin | kAck}, 0, kClosing},
        {"RST", {kSyn, kAck, kRst}, 0, kClosing},
        {"RST taken back", {kSyn, kAck, kRst, kAck}, 0, kEstablished},
        {"first datagram", {}, 1, kUdp},
        {"datagrams", {}, 3, kUdp},
    };
    for (const std::uint32_t start : {1000u, 0xffff'ff80u, 0x007f'ff80u})
        for (const Lifetime& lifetime : lifetimes)
            for (const TickCount silence : {lifetime.timeout - 1, lifetime.timeout}) {
                SmallWorld world(old_serve());
                std::uint32_t home = 0;
                for (const std::uint8_t flags : lifetime.flags)
                    home = send(world, tcp_frame(flow(1), flags), Tick{start});
                for (unsigned n = 0; n < lifetime.datagrams; ++n)
                    home = send(world, udp_frame(flow(1)), Tick{start});
                ASSERT_TRUE(is_old(home));
                world.reload(new_serve());
                const bool known = silence < lifetime.timeout;
                const Tick then = Tick{start} + silence;
                const bool udp = lifetime.datagrams != 0;
                const std::uint32_t went =
                    send(world, udp ? udp_frame(flow(1)) : tcp_frame(flow(1), kAck), then);
                EXPECT_EQ(went == home, known)
                    << lifetime.name << " after " << silence << " ticks from " << start;
                world.expect_consistent();
                world.worker().sweep_all(then);
                EXPECT_EQ(world.worker().pipeline().flows().entries(), 1u);
                world.worker().sweep_all(then + kEstablished);
                EXPECT_EQ(world.worker().pipeline().flows().entries(), 0u);
                world.expect_consistent();
            }
}

TEST_F(FlowsTest, a_first_packet_that_ends_a_flow_is_forwarded_and_leaves_no_entry) {
    SmallWorld world(old_serve());
    const WorkerCounters& counters = world.worker().counters();
    std::uint32_t n = 0;
    for (const std::uint8_t flags : {kRst, kFin, std::uint8_t{kFin | kAck}, std::uint8_t{kRst | kSyn}}) {
        EXPECT_TRUE(is_old(send(world, tcp_frame(flow(++n), flags), Tick{1})));
        EXPECT_EQ(world.worker().pipeline().flows().entries(), 0u);
    }
    EXPECT_EQ(counters.flow_inserts.value(), 0u);
    EXPECT_EQ(counters.services[0].new_flows.value(), 0u);
    EXPECT_EQ(counters.services[0].packets.value(), n);
    world.expect_consistent();
}

Config only_old(unsigned first, unsigned last) {
    Config config = old_serve();
    std::erase_if(config.pools[0].backends.change(), [&](const BackendConfig& backend) {
        const std::uint32_t n = backend.address.v4().bits.value() & 0xff;
        return !is_old(backend.address.v4().bits.value()) || n < first || n > last;
    });
    return config;
}

TEST_F(FlowsTest, draining_backends_keep_their_flows_and_get_no_new_ones) {
    SmallWorld world(only_old(1, 4));
    std::map<std::uint32_t, std::uint32_t> home;
    for (std::uint32_t n = 0; n < 400; ++n) {
        home[n] = send(world, tcp_frame(flow(n), kSyn), Tick{1});
        send(world, tcp_frame(flow(n), kAck), Tick{1});
    }
    world.reload(only_old(1, 2));
    ASSERT_EQ(world.world().ids().draining(), 2u);
    for (const auto& [n, backend] : home) EXPECT_EQ(send(world, tcp_frame(flow(n), kAck), Tick{2}), backend);
    for (std::uint32_t n = 1000; n < 1400; ++n)
        EXPECT_LE(send(world, tcp_frame(flow(n), kSyn), Tick{2}), kOld + 2)
            << "a new flow at a draining backend";
    for (const auto& [n, backend] : home) {
        EXPECT_EQ(send(world, tcp_frame(flow(n), kFin | kAck), Tick{3}), backend);
        const std::uint32_t again = send(world, tcp_frame(flow(n), kSyn), Tick{4});
        EXPECT_LE(again, kOld + 2);
        if (backend <= kOld + 2) {
            EXPECT_EQ(again, backend) << "a reopened flow stays where it may";
        }
    }
    world.expect_consistent();
    // Nothing holds a draining backend any more: the drain ends.
    for (int tick = 0; tick < 4; ++tick) {
        world.world().tick();
        world.latch_all();
    }
    EXPECT_EQ(world.world().ids().draining(), 0u);
    for (const auto& [n, backend] : home) EXPECT_LE(send(world, tcp_frame(flow(n), kAck), Tick{5}), kOld + 2);
    world.expect_consistent();
}

// May be forged (RFC 5961 4): so it moves no flow of a backend in full service. From any other it lets the
// client get away, whatever the flow's state.
TEST_F(FlowsTest, a_syn_on_a_known_flow_chooses_anew_exactly_where_the_backend_is_not_in_full_service) {
    const std::vector<std::uint8_t> pasts[] = {{kSyn},
                                               {kAck},
                                               {kSyn, kAck},
                                               {kSyn, kAck, kFin | kAck},
                                               {kSyn, kAck, kRst},
                                               {kSyn, kAck, kRst, kAck}};
    enum class Then { serving, weightless, removed };
    for (const Then then : {Then::serving, Then::weightless, Then::removed})
        for (const auto& past : pasts) {
            SmallWorld world(then == Then::serving ? old_serve() : only_old(1, 4));
            std::map<std::uint32_t, std::uint32_t> home;
            for (std::uint32_t n = 0; n < 40; ++n)
                for (const std::uint8_t flags : past)
                    home[n] = send(world, tcp_frame(flow(n), flags), Tick{1});
            if (then == Then::weightless) world.reload(new_serve());
            if (then == Then::removed) {
                Config config = new_serve();
                std::erase_if(config.pools[0].backends.change(),
                              [](const BackendConfig& b) { return is_old(b.address.v4().bits.value()); });
                world.reload(config);
            }
            for (const auto& [n, backend] : home) {
                const std::uint32_t went = send(world, tcp_frame(flow(n), kSyn), Tick{2});
                EXPECT_EQ(went == backend, then == Then::serving);
                EXPECT_EQ(is_old(went), then == Then::serving);
                EXPECT_EQ(send(world, tcp_frame(flow(n), kAck), Tick{2}), went) << "and stays there";
            }
            EXPECT_EQ(world.worker().pipeline().flows().entries(), home.size());
            world.expect_consistent();
        }
}

TEST_F(FlowsTest, a_dead_backend_loses_its_flows_at_once_and_no_other_does) {
    SmallWorld world(only_old(1, 4));
    std::map<std::uint32_t, std::uint32_t> home;
    for (std::uint32_t n = 0; n < 400; ++n) {
        home[n] = send(world, udp_frame(flow(n)), Tick{1});
        ASSERT_EQ(send(world, udp_frame(flow(n)), Tick{1}), home[n]);
    }
    const std::uint32_t dead = home[0];
    for (const IdRegistry::Backend& backend : world.world().ids().find_pool("web")->backends)
        if (backend.address.v4().bits.value() == dead) world.world().set_eligible(backend.id, false);
    world.world().republish();
    world.latch_all();
    for (const auto& [n, backend] : home) {
        if (n % 2 == 1) continue;  // these stay silent
        const std::uint32_t went = send(world, udp_frame(flow(n)), Tick{2});
        ASSERT_TRUE(is_old(went));
        EXPECT_EQ(went == backend, backend != dead) << "flow " << n;
        EXPECT_NE(went, dead);
        EXPECT_EQ(send(world, udp_frame(flow(n)), Tick{2}), went);
    }
    world.expect_consistent();
    EXPECT_EQ(world.worker().pipeline().flows().entries(), 400u);
    world.worker().sweep_all(Tick{2});
    EXPECT_LT(world.worker().pipeline().flows().entries(), 400u) << "silent flows of the dead backend";
    world.expect_consistent();
}

TEST_F(FlowsTest, flows_of_a_pool_that_the_service_has_left_are_bound_anew_at_once) {
    Config config = only_old(1, 4);
    config.pools.push_back(new_serve().pools[0]);
    config.pools[1].name = "other";
    std::erase_if(config.pools[1].backends.change(), [](const BackendConfig& b) { return b.weight == 0; });
    SmallWorld world(config);
    for (std::uint32_t n = 0; n < 300; ++n) {
        ASSERT_TRUE(is_old(send(world, udp_frame(flow(n)), Tick{1})));
        ASSERT_TRUE(is_old(send(world, tcp_frame(flow(n), kSyn), Tick{1})));
    }
    config.services[0].pool = "other";
    world.reload(config);
    for (std::uint32_t n = 0; n < 300; ++n) {
        const std::uint32_t went = send(world, udp_frame(flow(n)), Tick{2});
        EXPECT_FALSE(is_old(went));
        EXPECT_EQ(send(world, udp_frame(flow(n)), Tick{2}), went) << "bound, not merely hashed";
        EXPECT_EQ(world.worker().pipeline().flows().entries(), 600u);
    }
    world.expect_consistent();
    // The TCP flows sent nothing since: their entries are swept although they have not expired.
    world.worker().sweep_all(Tick{2});
    EXPECT_EQ(world.worker().pipeline().flows().entries(), 300u);
    world.expect_consistent();
}

TEST_F(FlowsTest, signs_of_trouble_are_counted_for_the_backend_of_the_flow) {
    struct Sign {
        std::vector<std::uint8_t> flags;
        std::uint64_t syn_repeats, client_resets;
    };
    const Sign signs[] = {
        {{kSyn}, 0, 0},
        {{kSyn, kSyn, kSyn}, 2, 0},
        {{kSyn, kAck, kSyn}, 0, 0},  // may be forged, and the backend has answered
        {{kSyn, kRst}, 0, 1},        // it gave up
        {{kSyn, kAck, kRst | kAck}, 0, 1},
        {{kSyn, kAck, kRst, kRst, kAck, kRst}, 0, 2},  // the second RST of three ends nothing
        {{kSyn, kAck, kFin | kAck, kRst}, 0, 0},       // it had ended
        {{kRst}, 0, 0},                                // of nothing that is known
        {{kAck, kRst}, 0, 0},                          // of nothing that is confirmed
        {{kSyn, kFin, kSyn, kSyn}, 1, 0},
    };
    for (const Sign& sign : signs) {
        SmallWorld world(only_old(1, 1));
        for (const std::uint8_t flags : sign.flags) send(world, tcp_frame(flow(1), flags), Tick{1});
        send(world, udp_frame(flow(1)), Tick{1});
        send(world, udp_frame(flow(1)), Tick{1});
        const BackendCounters& counters = world.worker().counters().backends[0];
        EXPECT_EQ(counters.syn_repeats.value(), sign.syn_repeats) << &sign - signs;
        EXPECT_EQ(counters.client_resets.value(), sign.client_resets) << &sign - signs;
        world.expect_consistent();
    }
}

TEST_F(FlowsTest, entries_of_a_removed_service_are_swept_and_its_gauges_return_to_zero) {
    Config config = old_serve();
    config.services.push_back(service("second", "203.0.113.11", "web"));
    SmallWorld world(config);
    for (std::uint32_t n = 0; n < 100; ++n) {
        send(world, tcp_frame(flow(n), kSyn), Tick{1});
        send(world, tcp_frame(client_flow(n, ip("203.0.113.11")), kSyn), Tick{1});
    }
    ASSERT_EQ(world.worker().counters().services[1].active_flows.value(), 100u);
    world.reload(old_serve());
    EXPECT_EQ(send(world, tcp_frame(client_flow(1, ip("203.0.113.11")), kAck), Tick{2}), 0u);
    EXPECT_EQ(dropped(world.worker().counters(), DropReason::not_vip), 1u);
    world.worker().sweep_all(Tick{2});
    EXPECT_EQ(world.worker().counters().services[1].active_flows.value(), 0u);
    EXPECT_EQ(world.worker().counters().services[0].active_flows.value(), 100u);
    world.expect_consistent();
}

}  // namespace
}  // namespace weir::test
