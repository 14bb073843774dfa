// What a snapshot says, what it shares with the one before, and what compiling costs.
#include "ctrl/tables/compile_snapshot.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/ctrl/config_builder.h"
#include "tests/dataplane/figure.h"

namespace weir {
namespace {

// The control thread's part of a reload, without workers.
class CompileTest : public testing::Test {
  protected:
    const ForwardingSnapshot& compile(Config next) {
        auto config = std::make_unique<Config>(std::move(next));
        const ConfigDelta delta(config_.get(), *config);
        const auto assigned = registry.assign(delta, ++generation);
        EXPECT_TRUE(assigned) << assigned.error().message;
        keep(compile_snapshot({delta, registry, facts, traffic, generation}, world, &work));
        config_ = std::move(config);
        return *current;
    }
    const ForwardingSnapshot& compile_again(std::span<const PoolId> drained = {}) {
        ++generation;
        keep(compile_snapshot({ConfigDelta::none(*config_), registry, facts, traffic, generation, drained},
                              world, &work));
        return *current;
    }
    void keep(std::unique_ptr<const ForwardingSnapshot> snapshot) {
        previous = std::move(current);
        current = std::move(snapshot);
    }
    BackendId id_of(const std::string& pool_name, const std::string& name, std::string_view address) {
        for (const auto& entry : registry.find_pool(pool_name)->backends)
            if (entry.name == name && entry.address == ip(address)) return entry.id;
        return kNoBackend;
    }
    static const BackendView& view(const ForwardingSnapshot& snapshot, ForwardingMode mode) {
        return snapshot.backends[static_cast<std::size_t>(mode)];
    }
    // Slots of a member.
    static std::size_t slots(const PoolTable& table, BackendId id) {
        std::size_t count = 0;
        for (const std::uint16_t member : table.maglev.slots())
            count += member != MaglevTable::kNoMember && table.members[member] == id ? 1 : 0;
        return count;
    }

    IdRegistry registry;
    TrafficPlan traffic;
    CompiledWorld world{HashKey::zero()};
    std::vector<PortFacts> facts = edge_facts();
    std::uint64_t generation = 0;
    CompileWork work;
    std::unique_ptr<Config> config_;
    std::unique_ptr<const ForwardingSnapshot> previous, current;
};

TEST_F(CompileTest, ASnapshotSaysWhatTheConfigurationSays) {
    Config config = web_config();
    config.services[0].udp = true;
    config.services[0].ports = {{80, 80, false}, {8000, 8099, false}};
    config.timeouts.udp = Duration(1500);
    config.timeouts.nat_tcp_time_wait = Duration(120'000);
    const ForwardingSnapshot& snapshot = compile(config);
    EXPECT_EQ(snapshot.generation, 1u);
    EXPECT_EQ(snapshot.timeouts[FlowState::udp].ticks(), 96u) << "ticks of 1/64 s";
    EXPECT_EQ(snapshot.timeouts[FlowState::tcp_established].ticks(), 350u * 64);
    EXPECT_EQ(snapshot.session_timeouts.established, 7'440u * 64);
    EXPECT_EQ(snapshot.session_timeouts.transitory, 240u * 64);
    EXPECT_EQ(snapshot.session_timeouts.udp, 300u * 64);
    EXPECT_EQ(snapshot.session_timeouts.time_wait, 120u * 64);
    const std::uint32_t vip = snapshot.services.find_vip(ip("203.0.113.10").v4());
    ASSERT_NE(vip, ServiceTable::kNotVip);
    const ServiceId service_id = snapshot.services.find_service(vip, IpProtocol::udp, 8042);
    ASSERT_EQ(service_id, registry.service_id("web", ip("203.0.113.10")));
    EXPECT_EQ(snapshot.services.find_service(vip, IpProtocol::tcp, 81), kNoService);
    const ServiceRecord& record = snapshot.service_records[index(service_id)];
    ASSERT_NE(record.table, nullptr);
    EXPECT_EQ(record.mode, ForwardingMode::ipip);
    EXPECT_EQ(record.table->members,
              (std::vector{id_of("web", "w1", "10.1.1.11"), id_of("web", "w2", "10.1.1.12")}));
    EXPECT_EQ(snapshot.pools[index(record.pool)].get(), record.table);
    const BackendRecord& w2 = view(snapshot, ForwardingMode::ipip)[id_of("web", "w2", "10.1.1.12")];
    EXPECT_EQ(w2.state, TrafficState::serving);
    EXPECT_TRUE(w2.resolved);
    EXPECT_EQ(view(snapshot, ForwardingMode::gue).chunks().size(), 0u) << "no service uses gue";
    ASSERT_EQ(snapshot.ports.size(), 1u);
    EXPECT_EQ(snapshot.ports[0].mac, mac("02:00:00:00:00:01"));
    EXPECT_EQ(snapshot.ports[0].addresses, (std::vector{ip("10.1.0.2"), ip("fd00:1::2")}));
    EXPECT_FALSE(snapshot.ports[0].has_host);
    config.ports[0].host_interface = "weir0";
    EXPECT_TRUE(compile(config).ports[0].has_host);
}

TEST_F(CompileTest, AnyPortIsTheWeakestRule) {
    Config config = web_config();
    config.services[0].ports = {{1, 65535, true}};
    config.services.push_back(service("web-443", "203.0.113.10", "web", ForwardingMode::ipip, 443));
    const ForwardingSnapshot& snapshot = compile(config);
    const std::uint32_t vip = snapshot.services.find_vip(ip("203.0.113.10").v4());
    EXPECT_EQ(snapshot.services.find_service(vip, IpProtocol::tcp, 0),
              registry.service_id("web", ip("203.0.113.10")));
    EXPECT_EQ(snapshot.services.find_service(vip, IpProtocol::tcp, 443),
              registry.service_id("web-443", ip("203.0.113.10")));
}

TEST_F(CompileTest, MembersAreSortedByNameWhateverTheFilesOrder) {
    Config config = web_config();
    std::swap(config.pools[0].backends.change()[0], config.pools[0].backends.change()[1]);
    const std::uint64_t checksum = compile(config).checksum;
    EXPECT_EQ(compile(web_config()).checksum, checksum);
    EXPECT_EQ(work.maglevs, 0u) << "the same members";

    CompiledWorld other_world(HashKey::zero());
    IdRegistry other;
    const Config straight = web_config();
    const ConfigDelta delta(nullptr, straight);
    ASSERT_TRUE(other.assign(delta, 1));
    EXPECT_EQ(compile_snapshot({delta, other, facts, traffic, 1}, other_world)->checksum, checksum)
        << "two appliances";
}

TEST_F(CompileTest, NothingChangedSharesEverything) {
    compile(web_config());
    compile(web_config());
    EXPECT_EQ(work.pools + work.maglevs + work.chunks + work.records, 0u);
    EXPECT_EQ(current->pools[0], previous->pools[0]);
    EXPECT_EQ(view(*current, ForwardingMode::ipip).chunks(), view(*previous, ForwardingMode::ipip).chunks());
    EXPECT_EQ(current->checksum, previous->checksum);
    EXPECT_EQ(current->generation, previous->generation + 1);
}

TEST_F(CompileTest, WeightChangeRebuildsOneTableAndNoRecord) {
    Config config = web_config();
    config.pools.push_back(pool("other", {backend("o1", "10.1.1.21")}));
    compile(config);
    config.pools[0].backends.change()[0].weight = 3;
    compile(config);
    EXPECT_EQ(work.pools, 1u);
    EXPECT_EQ(work.maglevs, 1u);
    EXPECT_EQ(work.records, 0u);
    EXPECT_EQ(work.chunks, 0u);
    const PoolTable& table = *current->pools[index(registry.find_pool("web")->id)];
    EXPECT_NEAR(static_cast<double>(slots(table, id_of("web", "w1", "10.1.1.11"))), 65537 * 0.75, 2);
    EXPECT_NE(current->checksum, previous->checksum);
}

TEST_F(CompileTest, WeightZeroKeepsKnownFlowsAndGetsNoNewOnes) {
    Config config = web_config();
    config.pools[0].backends.change()[1].weight = 0;
    const ForwardingSnapshot& snapshot = compile(config);
    const BackendId w2 = id_of("web", "w2", "10.1.1.12");
    EXPECT_EQ(view(snapshot, ForwardingMode::ipip)[w2].state, TrafficState::draining);
    EXPECT_EQ(slots(*snapshot.pools[0], w2), 0u);
    EXPECT_EQ(snapshot.pools[0]->members.size(), 2u);
}

TEST_F(CompileTest, RemovedBackendDrainsThenIsAbsent) {
    compile(web_config());
    const BackendId w2 = id_of("web", "w2", "10.1.1.12");
    Config without = web_config();
    without.pools[0].backends.change().pop_back();
    compile(without);
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w2].state, TrafficState::draining);
    EXPECT_TRUE(view(*current, ForwardingMode::ipip)[w2].resolved);
    EXPECT_EQ(current->pools[0]->members, std::vector{id_of("web", "w1", "10.1.1.11")});
    EXPECT_EQ(view(*previous, ForwardingMode::ipip)[w2].state, TrafficState::serving) << "immutable";

    registry.observe(SweepView({}));
    ASSERT_EQ(registry.observe(SweepView({})).drained, 1u);
    const std::vector<PoolId> drained = registry.end_drains(generation + 1);
    ASSERT_EQ(drained, std::vector{registry.find_pool("web")->id});
    compile_again(drained);
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w2].state, TrafficState::absent);
    EXPECT_EQ(work.maglevs, 0u) << "the members are the same";
    EXPECT_EQ(current->pools[0], previous->pools[0]);
}

TEST_F(CompileTest, ChangedAddressKeepsTheMaglevTable) {
    compile(web_config());
    const BackendId old_id = id_of("web", "w2", "10.1.1.12");
    Config moved = web_config();
    moved.pools[0].backends.change()[1].address = ip("10.1.1.77");
    compile(moved);
    EXPECT_EQ(work.pools, 1u) << "its members have another id";
    EXPECT_EQ(work.maglevs, 0u);
    EXPECT_EQ(current->checksum, previous->checksum);
    const BackendId new_id = id_of("web", "w2", "10.1.1.77");
    EXPECT_EQ(current->pools[0]->members[1], new_id);
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[old_id].state, TrafficState::draining);
    EXPECT_FALSE(view(*current, ForwardingMode::ipip)[new_id].resolved) << "no neighbour";
}

TEST_F(CompileTest, RemovedPoolIsAbsentAtOnceAndComesBackUnderItsIds) {
    Config both = web_config();
    both.pools.push_back(pool("other", {backend("o1", "10.1.1.21")}));
    both.services.push_back(service("other", "203.0.113.11", "other", ForwardingMode::gue));
    compile(both);
    const BackendId o1 = id_of("other", "o1", "10.1.1.21");
    const PoolId other = registry.find_pool("other")->id;
    compile(web_config());
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[o1].state, TrafficState::absent);
    EXPECT_EQ(current->pools[index(other)], nullptr);
    EXPECT_EQ(view(*current, ForwardingMode::gue).chunks().size(), 0u) << "no service uses gue any more";
    EXPECT_EQ(current->service_records[1].table, nullptr);
    compile(both);
    EXPECT_EQ(id_of("other", "o1", "10.1.1.21"), o1);
    EXPECT_EQ(view(*current, ForwardingMode::gue)[o1].mode, ForwardingMode::gue);
    EXPECT_EQ(view(*current, ForwardingMode::gue)[o1].state, TrafficState::serving);
}

TEST_F(CompileTest, IneligibleBackendLosesItsSlotsAndItsKnownFlows) {
    compile(web_config());
    const BackendId w1 = id_of("web", "w1", "10.1.1.11");
    traffic.set(w1, false);
    compile_again();
    EXPECT_EQ(work.maglevs, 1u);
    EXPECT_EQ(slots(*current->pools[0], w1), 0u);
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w1].state, TrafficState::absent) << "dead";
    traffic.set(w1, true);
    compile_again();
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w1].state, TrafficState::serving);
    EXPECT_EQ(slots(*current->pools[0], w1), slots(*std::as_const(*current).pools[0], w1));
    EXPECT_NEAR(static_cast<double>(slots(*current->pools[0], w1)), 65537 / 2.0, 1);
}

TEST_F(CompileTest, ModesHaveAViewEachAndOverridesApply) {
    Config config = web_config();
    config.services.push_back(service("web-gue", "203.0.113.11", "web", ForwardingMode::gue));
    config.pools[0].backends.change()[1].forwarding = ForwardingMode::dsr;
    compile(config);
    const BackendId w1 = id_of("web", "w1", "10.1.1.11"), w2 = id_of("web", "w2", "10.1.1.12");
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w1].mode, ForwardingMode::ipip);
    EXPECT_EQ(view(*current, ForwardingMode::gue)[w1].mode, ForwardingMode::gue);
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w2].mode, ForwardingMode::dsr);
    EXPECT_EQ(view(*current, ForwardingMode::gue)[w2].mode, ForwardingMode::dsr);
    config.pools[0].forwarding = ForwardingMode::gue;
    compile(config);
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w1].mode, ForwardingMode::gue) << "the pool's";
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w2].mode, ForwardingMode::dsr) << "the backend's own";
}

TEST_F(CompileTest, NeighborAndPortChangesReachTheTemplates) {
    Config config = web_config();
    compile(config);
    const BackendId w1 = id_of("web", "w1", "10.1.1.11");
    config.neighbors[1].mac = mac("02:00:00:00:00:aa");
    compile(config);
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w1].header[5], 0xaa);
    EXPECT_EQ(work.records, 1u) << "w2's way is the same";
    EXPECT_EQ(work.maglevs, 0u);
    facts[0].mac = mac("02:00:00:00:00:bb");
    facts[0].mtu = 9000;
    compile_again();
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w1].header[11], 0xbb);
    EXPECT_EQ(view(*current, ForwardingMode::ipip)[w1].max_packet_length, 8980);
    EXPECT_EQ(current->ports[0].mtu, 9000);
    EXPECT_EQ(work.maglevs, 0u);
}

TEST_F(CompileTest, SelectionInputAndTableSize) {
    Config config = web_config();
    config.pools[0].hash = SelectionHash::source_ip;
    config.pools[0].table_size = 251;
    compile(config);
    EXPECT_EQ(current->pools[0]->input, SelectionInput::source_ip);
    EXPECT_EQ(current->pools[0]->maglev.slots().size(), 251u);
    config.pools[0].hash = SelectionHash::five_tuple;
    compile(config);
    EXPECT_EQ(current->pools[0]->input, SelectionInput::five_tuple);
    EXPECT_EQ(work.pools, 1u);
    EXPECT_EQ(work.maglevs, 0u);
}

TEST_F(CompileTest, EmptyPoolHasATableWithoutMembers) {
    Config config = web_config();
    config.pools[0].backends.change().clear();
    compile(config);
    ASSERT_NE(current->service_records[0].table, nullptr);
    EXPECT_EQ(current->service_records[0].table->maglev.lookup(12345), MaglevTable::kNoMember);
}

TEST_F(CompileTest, RemarksNameWhatCannotBeReached) {
    Config config = web_config(ForwardingMode::dsr);
    config.pools[0].backends.change().push_back(backend("w3", "10.1.1.33"));
    config.pools[0].backends.change().push_back(backend("w4", "192.0.2.4"));
    compile(config);
    const NextHopRemarks remarks = remark_next_hops(world, config);
    EXPECT_EQ(
        remarks.unresolved,
        (std::vector<std::string>{
            "backend 10.1.1.33: the MAC address of 10.1.1.33 is not known: add it to neighbors",
            "backend 192.0.2.4: reached through the router 10.1.0.1, but dsr needs it on port \"edge\"'s "
            "link"}));
    EXPECT_TRUE(remarks.derived.empty());

    CompiledWorld replay(HashKey::zero(), true);
    const ConfigDelta delta(nullptr, config);
    IdRegistry ids;
    ASSERT_TRUE(ids.assign(delta, 1));
    (void)compile_snapshot({delta, ids, facts, traffic, 1}, replay);
    const NextHopRemarks derived = remark_next_hops(replay, config);
    ASSERT_EQ(derived.derived.size(), 1u);
    EXPECT_EQ(derived.derived[0].address, ip("10.1.1.33"));
    EXPECT_EQ(derived.derived[0].mac, mac("02:00:0a:01:01:21"));
    EXPECT_EQ(derived.unresolved.size(), 1u) << "dsr through a router stays impossible";
}

Config large_config(unsigned pools, unsigned backends) {
    Config config = edge_config();
    for (unsigned p = 0; p < pools; ++p) {
        std::vector<BackendConfig> members;
        for (unsigned b = 0; b < backends; ++b)
            members.push_back(backend(
                fmt::format("server-{:03}", b),
                fmt::format("10.1.{}.{}", 4 + (p * backends + b) / 250 % 250, 1 + (p * backends + b) % 250)));
        config.pools.push_back(pool(fmt::format("pool-{:04}", p), std::move(members)));
        config.services.push_back(service(fmt::format("service-{:04}", p),
                                          fmt::format("203.0.{}.{}", 1 + p / 250, 1 + p % 250),
                                          fmt::format("pool-{:04}", p)));
    }
    return config;
}

// Budgets are for a release build on an idle machine; a sanitizer or a busy neighbour may take ten times
// that.
TEST_F(CompileTest, ThousandPoolsOfAHundred) {
    Config config = large_config(1000, 100);
    Stopwatch from_nothing;
    compile(config);
    const double all_ms = from_nothing.milliseconds();
    EXPECT_EQ(work.maglevs, 1000u);
    EXPECT_EQ(work.records, 100'000u);

    Config next = config;
    double best_ms = 1e9, best_weight_ms = 1e9;
    for (int round = 0; round < 5; ++round) {
        next.pools[500].backends.change()[50].address = ip(fmt::format("10.1.3.{}", round + 1));
        auto held = std::make_unique<Config>(next);
        Stopwatch one;
        const ConfigDelta delta(config_.get(), *held);
        ASSERT_TRUE(registry.assign(delta, ++generation));
        keep(compile_snapshot({delta, registry, facts, traffic, generation}, world, &work));
        best_ms = std::min(best_ms, one.milliseconds());
        config_ = std::move(held);
        EXPECT_EQ(work.records, 2u) << "one drains, one serves";
        EXPECT_EQ(work.maglevs, 0u);
        next.pools[501].backends.change()[round].weight = 2;
        Stopwatch weight;
        compile(next);
        best_weight_ms = std::min(best_weight_ms, weight.milliseconds());
        EXPECT_EQ(work.maglevs, 1u);
    }
    traffic.set(BackendId{77'777}, false);
    Stopwatch health;
    compile_again();
    const double health_ms = health.milliseconds();
    EXPECT_EQ(work.maglevs, 1u);
    print_figure(
        "1,000 pools x 100 backends: from nothing %.0f ms; one address changed %.2f ms; one weight "
        "changed, configuration copied too, %.2f ms; one backend unhealthy %.2f ms",
        all_ms, best_ms, best_weight_ms, health_ms);
    EXPECT_LT(all_ms, 50'000);
    EXPECT_LT(best_ms, 50);
}

}  // namespace
}  // namespace weir
