// World against workers that only count: the test says when each one takes a generation. Time is the test's.
#include "ctrl/world.h"

#include <gtest/gtest.h>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

using std::chrono::milliseconds;

class WorldTest : public testing::Test {
  protected:
    WorldOptions options() {
        WorldOptions result;
        result.ports = edge_facts();
        result.worker_cpus = {1, 2};
        result.now = [this] { return now; };
        result.notify = [this](Severity severity, const std::string& sentence) {
            EXPECT_EQ(severity, Severity::error);
            sentences.push_back(sentence);
        };
        result.hook = [this](ReloadStep step) { steps.push_back(step); };
        return result;
    }
    void apply(Config config) {
        const auto report = world.apply(std::move(config));
        ASSERT_TRUE(report) << report.error().message;
    }
    void tick(milliseconds later = milliseconds(1)) {
        now += later;
        world.tick();
    }
    static Config without_w2() {
        Config config = web_config();
        config.pools[0].backends.change().pop_back();
        return config;
    }

    std::chrono::steady_clock::time_point now{};
    std::vector<std::string> sentences;
    std::vector<ReloadStep> steps;
    CountingWorkers workers{2};
    World world{options(), workers.all()};
};

TEST_F(WorldTest, ApplyPublishesAndMakesRoomForCounters) {
    const auto report = world.apply(web_config());
    ASSERT_TRUE(report);
    EXPECT_EQ(report->generation, 1u);
    EXPECT_EQ(report->work.maglevs, 1u);
    ASSERT_NE(world.snapshot(), nullptr);
    EXPECT_EQ(world.snapshot()->generation, 1u);
    EXPECT_TRUE(workers[0].services.has(0) && workers[1].backends.has(1));
    EXPECT_EQ(steps, (std::vector{ReloadStep::compiled, ReloadStep::before_publish, ReloadStep::published}));
}

TEST_F(WorldTest, InForceOnceEveryWorkerUsesIt) {
    apply(web_config());
    EXPECT_FALSE(world.in_force());
    EXPECT_EQ(world.tick_interval(), milliseconds(1));
    workers[0].snapshot_generation.set(1);
    tick();
    EXPECT_FALSE(world.in_force());
    workers.take(1);
    tick(milliseconds(3));
    EXPECT_TRUE(world.in_force());
    EXPECT_EQ(world.tick_interval(), milliseconds(100));
    EXPECT_EQ(world.publish_durations().count(), 1u);
    EXPECT_DOUBLE_EQ(world.publish_durations().sum, 0.004);
}

// So that a worker that sleeps takes it at once and not when its sleep ends.
TEST_F(WorldTest, WorkersAreWokenAfterEachPublication) {
    std::vector<std::uint64_t> woken;  // what they find in force
    const World* made = nullptr;
    WorldOptions waking = options();
    waking.wake_workers = [&] { woken.push_back(made->snapshot()->generation); };
    World waker(waking, workers.all());
    made = &waker;
    ASSERT_TRUE(waker.apply(web_config()));
    (void)waker.republish();
    EXPECT_EQ(woken, (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(WorldTest, AReplacedSnapshotIsCountedFromItsReplacementUntilItIsFreed) {
    apply(web_config());
    EXPECT_EQ(world.retired(), 0u);
    apply(without_w2());
    EXPECT_EQ(world.retired(), 1u);
    steps.clear();
    tick();  // no worker reads it
    EXPECT_EQ(world.retired(), 0u);
    EXPECT_EQ(steps, std::vector{ReloadStep::reclaimed});
}

TEST_F(WorldTest, HealthChangesNoNamesAndDrainsDo) {
    apply(web_config());
    EXPECT_EQ(world.named_generation(), 1u);
    world.set_eligible(BackendId{0}, false);
    const ApplyReport health = world.republish();
    EXPECT_EQ(health.work.maglevs, 1u);
    EXPECT_EQ(health.work.records, 1u);
    EXPECT_EQ(world.republish().work.pools, 0u) << "compiled already";
    EXPECT_EQ(world.named_generation(), 1u);
    apply(without_w2());
    EXPECT_EQ(world.named_generation(), 4u);
    for (int i = 0; i < 3; ++i) {
        workers.take(world.generation());
        tick();
    }
    EXPECT_EQ(world.named_generation(), 5u) << "the drain has ended";
}

TEST_F(WorldTest, AStuckWorkerIsNamedOnceAndDelaysNobody) {
    apply(web_config());
    workers.take(1);
    tick();
    apply(without_w2());
    workers[0].snapshot_generation.set(2);
    tick(milliseconds(999));
    EXPECT_TRUE(sentences.empty());
    tick();
    EXPECT_EQ(sentences, std::vector<std::string>{"worker 1 (cpu 2) has not taken generation 2 for 1.0 s"});
    tick(milliseconds(5000));
    EXPECT_EQ(sentences.size(), 1u) << "once for a generation";
    EXPECT_EQ(world.missed_deadlines(), 1u);
    apply(web_config());  // goes on without it
    EXPECT_EQ(world.snapshot()->generation, 3u);
    workers.take(3);
    tick();
    EXPECT_TRUE(world.in_force());
    EXPECT_EQ(world.missed_deadlines(), 1u);
}

TEST_F(WorldTest, OldSnapshotsOfAStuckReaderAreBoundedAndTheNewestWins) {
    apply(web_config());
    const Published<ForwardingSnapshot>::Reader stuck(world.published(), 0);
    const ForwardingSnapshot* held = stuck.latch();
    for (unsigned weight = 2; weight < 32; ++weight) {
        Config config = web_config();
        config.pools[0].backends.change()[0].weight = weight;
        apply(config);
        EXPECT_LE(world.retired(), World::kMaxRetired);
    }
    EXPECT_EQ(held->generation, 1u) << "still readable";
    EXPECT_LT(world.snapshot()->generation, 31u);
    workers.take(world.snapshot()->generation);
    EXPECT_FALSE(world.in_force()) << "the newest is held back";
    stuck.quiescent();
    tick();
    EXPECT_EQ(world.snapshot()->generation, 31u) << "the newest wins";
    stuck.quiescent();
    workers.take(31);
    tick();
    EXPECT_EQ(world.retired(), 0u);
    EXPECT_TRUE(world.in_force());
    EXPECT_EQ(world.publish_durations().count(), 1 + World::kMaxRetired + 1)
        << "held ones were never published";
    stuck.leave();
}

TEST_F(WorldTest, ADrainEndsByItselfAndItsIdIsFreedAfterTheSweeps) {
    apply(web_config());
    workers.take(1);
    apply(without_w2());
    workers.take(2);
    workers[1].backends[1].active_flows.add(1);
    for (int i = 0; i < 5; ++i) tick();
    EXPECT_EQ(world.generation(), 2u) << "a flow is left";
    EXPECT_EQ(world.ids().draining(), 1u);
    workers[1].backends[1].active_flows.subtract(1);
    tick();
    EXPECT_EQ(world.generation(), 3u);
    EXPECT_EQ(world.snapshot()->backends[static_cast<std::size_t>(ForwardingMode::ipip)][BackendId{1}].state,
              TrafficState::absent);
    workers.take(3);
    for (int i = 0; i < 3; ++i) tick();
    EXPECT_EQ(world.generation(), 3u) << "once";
    EXPECT_EQ(world.ids().waiting(), 1u);
    workers.sweep(2);
    tick();
    EXPECT_EQ(world.ids().waiting(), 0u);
}

TEST_F(WorldTest, ACutBackendIsAbsentFromTheSnapshotThatRemovesIt) {
    apply(web_config());
    workers.take(1);
    workers[1].backends[1].active_flows.add(1);
    const BackendKey w2{"web", "w2"};
    ASSERT_TRUE(world.apply(without_w2(), {&w2, 1}));
    EXPECT_EQ(world.generation(), 2u);
    EXPECT_EQ(world.snapshot()->backends[static_cast<std::size_t>(ForwardingMode::ipip)][BackendId{1}].state,
              TrafficState::absent);
    EXPECT_EQ(world.ids().draining(), 0u);
    EXPECT_EQ(world.ids().waiting(), 1u);
}

TEST_F(WorldTest, ADrainedBackendIsAMemberThatGetsNoNewFlow) {
    Config drained = web_config();
    drained.pools[0].backends.change()[1].drained = true;
    apply(drained);
    for (const std::uint16_t member : world.snapshot()->pools[0]->maglev.slots()) ASSERT_EQ(member, 0);
    EXPECT_EQ(world.snapshot()->backends[static_cast<std::size_t>(ForwardingMode::ipip)][BackendId{1}].state,
              TrafficState::draining);
}

TEST_F(WorldTest, HealthTakesEffectWithRepublish) {
    apply(web_config());
    world.set_eligible(BackendId{0}, false);
    const ApplyReport report = world.republish();
    EXPECT_EQ(report.generation, 2u);
    EXPECT_EQ(report.work.maglevs, 1u);
    for (const std::uint16_t member : world.snapshot()->pools[0]->maglev.slots()) ASSERT_EQ(member, 1);
}

TEST_F(WorldTest, WhatTheKernelChangesCostsTheBackendsConcerned) {
    KernelWays ways({"weir0"});
    std::vector<IpAddress> wanted;
    WorldOptions with_kernel = options();
    with_kernel.kernel = &ways;
    with_kernel.want_ways = [&](const std::vector<IpAddress>& destinations) {
        wanted = destinations;
        for (const IpAddress& destination : destinations) (void)ways.want_hops_to(destination);
    };
    ways.set_interface(PortId{0}, InterfaceIndex{5}, {{prefix("10.1.0.3/16")}});
    ways.set_routes({{.prefix = prefix("10.1.0.0/16"), .paths = {{.interface = InterfaceIndex{5}}}}});
    (void)ways.take_change();
    World asked(with_kernel, workers.all());
    ASSERT_TRUE(asked.apply(web_config()));
    EXPECT_EQ(wanted, (std::vector{ip("10.1.1.11"), ip("10.1.1.12")})) << "before it is compiled";
    EXPECT_EQ(asked.destinations(), wanted);
    const auto record = [&](unsigned id) -> const BackendRecord& {
        return asked.snapshot()->backends[static_cast<std::size_t>(ForwardingMode::ipip)][BackendId{id}];
    };
    EXPECT_FALSE(record(0).resolved || record(1).resolved) << "not the file's MACs";
    EXPECT_EQ(asked.snapshot()->ports[0].addresses, std::vector{ip("10.1.0.3")});
    ways.set_neighbor({PortId{0}, ip("10.1.1.12")}, {.mac = mac("02:00:00:00:00:99"), .resolved = true});
    const ApplyReport report = asked.apply_ways(ways.take_change());
    EXPECT_EQ(report.work.records, 1u);
    EXPECT_EQ(report.work.pools, 0u);
    EXPECT_EQ(asked.named_generation(), 1u);
    EXPECT_TRUE(!record(0).resolved && record(1).resolved);
    ways.set_interface(PortId{0}, InterfaceIndex{5}, {{prefix("10.1.0.4/16")}});
    EXPECT_EQ(asked.apply_ways(ways.take_change()).work.records, 2u) << "another source address";
    EXPECT_EQ(asked.snapshot()->ports[0].addresses, std::vector{ip("10.1.0.4")});
}

TEST_F(WorldTest, WhatNeedsARestartIsRefusedAndChangesNothing) {
    apply(web_config());
    Config two_ports = web_config();
    two_ports.ports.push_back(two_ports.ports[0]);
    two_ports.ports[1].name = "second";
    const auto added = world.apply(two_ports);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().message, "ports: 2 are configured, 1 are running: restart weir to change that");
    Config renamed = web_config();
    renamed.ports[0].name = "outer";
    const auto refused = world.apply(renamed);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message,
              "port \"outer\" was \"edge\": restart weir to rename or reorder ports");
    EXPECT_EQ(world.generation(), 1u);
    EXPECT_EQ(world.config()->ports[0].name, "edge");
}

TEST_F(WorldTest, AHundredReloadsLeaveNothingBehind) {
    for (unsigned i = 0; i < 100; ++i) {
        Config config = web_config();
        config.pools[0].backends.change()[1].address = ip("10.1.1." + std::to_string(20 + i % 7));
        apply(config);
        workers.take(world.generation());
        tick();
        tick();
        workers.take(world.generation());
        for (int sweep = 0; sweep < 3; ++sweep) {
            tick();
            workers.sweep(2);
        }
        tick();
    }
    EXPECT_EQ(world.ids().draining(), 0u);
    EXPECT_EQ(world.ids().waiting(), 0u);
    EXPECT_EQ(world.retired(), 0u);
    EXPECT_LE(world.ids().backend_ids(), 3u) << "ids are reused";
}

}  // namespace
}  // namespace weir
