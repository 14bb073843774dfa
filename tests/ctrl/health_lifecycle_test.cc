// HealthMonitor: backends that come and go, reloads, restarts.
#include <unistd.h>

#include "tests/ctrl/health_monitor_testing.h"

namespace weir {
namespace {

TEST_F(HealthMonitorTest, ADeadOneThatLeavesKeepsItsFlowsIfItsPoolSaysSo) {
    Config config = checked_config();
    config.pools[0].unhealthy_flows = UnhealthyFlows::keep;
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::timeout, "no answer within 2s", 2);
    flush();
    workers[0].backends[1].active_flows.add(1);
    config.pools[0].backends.change().pop_back();
    apply(config);
    EXPECT_EQ(known(1), TrafficState::draining) << "unhealthy_draining = 0: as long as they last";
}

TEST_F(HealthMonitorTest, DeregistrationDrainsUntilTheLastFlow) {
    Config config = checked_config();
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    flush();
    workers[0].backends[1].active_flows.add(1);
    config.pools[0].backends.change().pop_back();
    apply(config);
    EXPECT_EQ(state_of("w2"), "draining Target.DeregistrationInProgress");
    EXPECT_EQ(known(1), TrafficState::draining);
    pass(seconds(100));
    EXPECT_EQ(state_of("w2"), "draining Target.DeregistrationInProgress");
    workers[0].backends[1].active_flows.subtract(1);
    settle();
    settle();
    EXPECT_EQ(state_of("w2"), "unused Target.NotRegistered");
    EXPECT_EQ(probes.subscriptions.size(), 1u) << "nobody asks it any more";
    pass(seconds(301));
    EXPECT_EQ(row("w2").name, "") << "forgotten";
}

TEST_F(HealthMonitorTest, CutWhileItDrainsItIsGoneAtOnce) {
    Config config = checked_config();
    start(config);
    workers[0].backends[1].active_flows.add(1);
    config.pools[0].backends.change().pop_back();
    apply(config);
    EXPECT_EQ(state_of("w2"), "draining Target.DeregistrationInProgress");
    const std::vector<BackendKey> cut = {{"web", "w2"}};
    ASSERT_TRUE(world.apply(config, cut));  // no time passes: whoever is told of it next may look
    EXPECT_EQ(state_of("w2"), "unused Target.NotRegistered");
    EXPECT_EQ(row("w2").id, kNoBackend);
    EXPECT_EQ(probes.subscriptions.size(), 1u);
    settle();
    EXPECT_EQ(known(1), TrafficState::absent);
}

TEST_F(HealthMonitorTest, TheDeadlineOfADrainCutsIfThePoolSaysSo) {
    for (const bool cuts : {false, true}) {
        Config config = checked_config();
        config.pools[0].connection_termination = cuts;
        config.pools[0].deregistration_delay = seconds(30);
        apply(config);
        workers[0].backends[1].active_flows.set(1);
        config.pools[0].backends.change().pop_back();
        apply(config);
        pass(seconds(29));
        EXPECT_EQ(state_of("w2"), "draining Target.DeregistrationInProgress");
        pass(seconds(1));
        settle();
        EXPECT_EQ(state_of("w2"), "unused Target.NotRegistered");
        EXPECT_EQ(known(1), cuts ? TrafficState::cut : TrafficState::draining);
    }
}

TEST_F(HealthMonitorTest, RegisteringAgainCancelsTheDrain) {
    Config config = checked_config();
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    flush();
    workers[0].backends[1].active_flows.add(1);
    Config without = config;
    without.pools[0].backends.change().pop_back();
    apply(without);
    EXPECT_EQ(state_of("w2"), "draining Target.DeregistrationInProgress");
    apply(config);
    EXPECT_EQ(state_of("w2"), "healthy ");
    EXPECT_EQ(serving(), "w1w2");
    pass(seconds(400));
    EXPECT_EQ(state_of("w2"), "healthy ") << "the old deadline means nothing";
}

TEST_F(HealthMonitorTest, TakenOutByTheOperator) {
    Config config = checked_config();
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    flush();
    workers[0].backends[1].active_flows.add(1);
    config.pools[0].backends.change()[1].drained = true;
    apply(config);
    EXPECT_EQ(state_of("w2"), "draining Target.DeregistrationInProgress");
    EXPECT_EQ(serving(), "w1");
    workers[0].backends[1].active_flows.subtract(1);
    settle();
    EXPECT_EQ(state_of("w2"), "unused Target.InvalidState");
    config.pools[0].backends.change()[1].drained = false;
    apply(config);
    EXPECT_EQ(state_of("w2"), "healthy ");
    EXPECT_EQ(serving(), "w1w2");
}

TEST_F(HealthMonitorTest, AReloadThatLeavesAddressAndCheckAloneKeepsTheState) {
    Config config = checked_config();
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::failed, "connection refused", 2);
    flush();
    const std::uint64_t before = probes.added;
    config.pools[0].backends.change()[1].weight = 7;
    config.pools[0].health_check->healthy_threshold = 1;
    apply(config);
    EXPECT_EQ(state_of("w2"), "unhealthy Target.FailedHealthChecks");
    EXPECT_EQ(probes.added, before) << "the same probes go on";
    config.pools[0].health_check->path = "/healthz";
    apply(config);
    EXPECT_EQ(state_of("w2"), "unhealthy Target.FailedHealthChecks") << "until the new check has a verdict";
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    EXPECT_EQ(state_of("w2"), "healthy ");
    config.pools[0].backends.change()[1].address = ip("10.1.1.13");
    apply(config);
    EXPECT_EQ(state_of("w2"), "initial Elb.InitialHealthChecking") << "a new address is a new backend";
    EXPECT_EQ(monitor.rows().back().status.state, BackendState::unused) << "the old one had no flows";
    EXPECT_EQ(monitor.rows().back().address, ip("10.1.1.12"));
}

TEST_F(HealthMonitorTest, WhatTheLastRunKnewHoldsUntilTheFirstVerdict) {
    HealthMonitorOptions options = monitor_options();
    options.saved.entries[{"web", "w1", ip("10.1.1.11")}] = {HealthVerdict::healthy, {}, "HTTP 200", 999'000};
    options.saved.entries[{"web", "w2", ip("10.1.1.12")}] = {
        HealthVerdict::unhealthy, UnhealthyReason::timeout, "no answer within 2s", 999'500};
    HealthMonitor restarted(std::move(options));
    WorldOptions with = world_options();
    with.assigned = [&](World& to, const ConfigDelta& delta) { restarted.assigned(to, delta); };
    World second(with, workers.all());
    ASSERT_TRUE(second.apply(checked_config()));
    restarted.start(probes);
    const std::vector<MonitoredBackend> before = restarted.rows();
    EXPECT_EQ(before[0].status.state, BackendState::healthy);
    EXPECT_EQ(before[0].since, 999'000);
    EXPECT_EQ(before[1].status.reason, "Target.Timeout");
    EXPECT_EQ(before[1].description, "no answer within 2s");
    EXPECT_FALSE(restarted.pool("web")->fails_open);
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    EXPECT_EQ(restarted.rows()[1].status.state, BackendState::healthy) << "the first success decides";
    EXPECT_EQ(restarted.save().entries.size(), 2u);
}

TEST_F(HealthMonitorTest, APoolThatNoServiceUsesIsNotProbed) {
    Config config = checked_config();
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    config.services.clear();
    apply(config);
    EXPECT_EQ(state_of("w1"), "unused Target.NotInUse");
    EXPECT_TRUE(probes.subscriptions.empty());
    apply(checked_config());
    EXPECT_EQ(state_of("w1"), "initial Elb.InitialHealthChecking");
    EXPECT_EQ(probes.subscriptions.size(), 2u);
}

TEST_F(HealthMonitorTest, ThroughTheVipOfTheFirstServiceThatUsesThePool) {
    Config config = checked_config();
    config.services.push_back(service("w6", "2001:db8::10", "web", ForwardingMode::gue));
    start(config);
    for (const auto& [id, one] : probes.subscriptions)
        EXPECT_FALSE(one.spec.via) << "unless the check says so";
    config.pools[0].health_check->via = ProbePath::vip;
    const auto expect_via = [&](std::string_view vip, ForwardingMode mode) {
        ASSERT_EQ(probes.subscriptions.size(), 2u) << "one of each backend, however many VIPs the pool has";
        std::set<BackendId> asked;
        for (const auto& [id, one] : probes.subscriptions) {
            ASSERT_TRUE(one.spec.via);
            EXPECT_EQ(one.spec.destination(), ip(vip));
            EXPECT_EQ(one.spec.via->way.mode, mode);
            EXPECT_EQ(one.spec.port, 80);
            asked.insert(one.spec.via->way.backend);
        }
        EXPECT_EQ(asked, (std::set{BackendId{0}, BackendId{1}}));
    };
    apply(config);
    expect_via("203.0.113.10", ForwardingMode::ipip);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    config.services.erase(config.services.begin());
    apply(config);
    expect_via("2001:db8::10", ForwardingMode::gue);
    EXPECT_EQ(state_of("w1"), "healthy ") << "what was known holds until there is a verdict by the new way";
    probes.answer("10.1.1.11", ProbeOutcome::timeout, "no answer within 2s", 2);
    flush();
    EXPECT_EQ(state_of("w1"), "unhealthy Target.Timeout");
    config.services.clear();
    apply(config);
    EXPECT_TRUE(probes.subscriptions.empty());
    EXPECT_EQ(state_of("w1"), "unused Target.NotInUse");
}

TEST_F(HealthMonitorTest, RemovedPoolsAndReusedIds) {
    Config config = checked_config();
    start(config);
    probes.answer("10.1.1.12", ProbeOutcome::failed, "connection refused", 2);
    flush();
    Config other = checked_config();
    other.pools[0].name = other.services[0].pool = "next";
    other.pools[0].backends.change()[0].name = "n1";
    apply(other);
    for (int i = 0; i < 5; ++i) {
        workers.sweep(2);
        settle();
    }
    EXPECT_EQ(monitor.pool("web"), nullptr);
    apply(config);
    EXPECT_EQ(state_of("w2"), "initial Elb.InitialHealthChecking") << "a new backend, whatever its id was";
    EXPECT_EQ(probes.subscriptions.size(), 2u);
}

TEST(SavedHealth, WhatIsStoredIsLoaded) {
    const std::string file = testing::TempDir() + "/weir-health/" + std::to_string(getpid()) + "/health.json";
    SavedHealth saved;
    saved.written = 1'000;
    saved.entries[{"web", "w1", ip("10.1.1.11")}] = {HealthVerdict::healthy, {}, "HTTP 200", 900};
    saved.entries[{"web", "w2", ip("fd00::12")}] = {HealthVerdict::unhealthy, UnhealthyReason::timeout,
                                                    "\xff", 950};
    ASSERT_TRUE(store_saved_health(file, saved));
    EXPECT_EQ(load_saved_health(file, 1'300).entries.size(), 2u);
    EXPECT_EQ(load_saved_health(file, 1'000).entries.begin()->second, saved.entries.begin()->second);
    EXPECT_TRUE(load_saved_health(file, 1'301).entries.empty()) << "older than five minutes";
    EXPECT_TRUE(load_saved_health(file, 999).entries.empty()) << "from the future";
    for (const char* broken : {"", "{", "[]", "{\"version\":2,\"written\":1000,\"backends\":[]}",
                               "{\"version\":1,\"written\":1000,\"backends\":[{}]}", "null"}) {
        std::FILE* out = std::fopen(file.c_str(), "w");
        std::fputs(broken, out);
        std::fclose(out);
        EXPECT_TRUE(load_saved_health(file, 1'001).entries.empty()) << broken;
    }
    EXPECT_FALSE(store_saved_health("/proc/no-such-folder/health.json", saved));
}

}  // namespace
}  // namespace weir
