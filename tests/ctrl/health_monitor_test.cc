// HealthMonitor: from probes' results to states, and to what backends may get.
#include "tests/ctrl/health_monitor_testing.h"

namespace weir {
namespace {

TEST_F(HealthMonitorTest, FromRegistrationToHealthy) {
    ASSERT_TRUE(world.apply(checked_config()));
    EXPECT_EQ(state_of("w1"), "initial Elb.RegistrationInProgress");
    monitor.start(probes);
    settle();
    EXPECT_EQ(state_of("w1"), "initial Elb.InitialHealthChecking");
    EXPECT_EQ(serving(), "w1w2") << "nobody is healthy yet: the pool fails open";
    EXPECT_TRUE(monitor.pool("web")->fails_open);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    EXPECT_EQ(news, 1u);
    flush();
    EXPECT_EQ(state_of("w1"), "healthy ");
    EXPECT_EQ(serving(), "w1") << "w2 has not answered yet";
    EXPECT_EQ(known(1), TrafficState::draining) << "and its flows stay meanwhile";
    EXPECT_FALSE(monitor.pool("web")->fails_open);
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    flush();
    EXPECT_EQ(serving(), "w1w2");
    EXPECT_EQ(monitor.reaction_durations().count(), 2u);
}

TEST_F(HealthMonitorTest, AProbeGoesToTheCheckedPortElseTheBackendsElseTheServices) {
    Config config = checked_config();
    config.pools[0].backends.change()[0].port = 8080;
    start(config);
    std::map<IpAddress, std::uint16_t> ports;
    for (const auto& [id, one] : probes.subscriptions) ports[one.spec.address] = one.spec.port;
    EXPECT_EQ(ports[ip("10.1.1.11")], 8080);
    EXPECT_EQ(ports[ip("10.1.1.12")], 80);
    config.pools[0].health_check->port = 9000;
    apply(config);
    ASSERT_EQ(probes.subscriptions.size(), 2u);
    for (const auto& [id, one] : probes.subscriptions) EXPECT_EQ(one.spec.port, 9000);
}

TEST_F(HealthMonitorTest, ADeadBackendLosesItsFlowsAndComesBack) {
    start(checked_config());
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    flush();
    probes.answer("10.1.1.12", ProbeOutcome::mismatch, "HTTP 500");
    EXPECT_EQ(state_of("w2"), "healthy ") << "one failure is none";
    probes.answer("10.1.1.12", ProbeOutcome::mismatch, "HTTP 500");
    flush();
    EXPECT_EQ(state_of("w2"), "unhealthy Target.ResponseCodeMismatch");
    EXPECT_EQ(row("w2").description, "HTTP 500");
    EXPECT_EQ(serving(), "w1");
    EXPECT_EQ(known(1), TrafficState::absent);
    EXPECT_EQ(sentences.back(), "pool web: backend w2 is unhealthy (Target.ResponseCodeMismatch): HTTP 500");
    probes.answer("10.1.1.12", ProbeOutcome::timeout, "no answer within 2s");
    EXPECT_EQ(state_of("w2"), "unhealthy Target.Timeout");
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200", 2);
    flush();
    EXPECT_EQ(serving(), "w1");
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    flush();
    EXPECT_EQ(state_of("w2"), "healthy ");
    EXPECT_EQ(serving(), "w1w2");
    const auto& changes = monitor.transitions().at({"web", "w2"});
    EXPECT_EQ(changes[static_cast<std::size_t>(BackendState::unhealthy)], 1u);
    EXPECT_EQ(changes[static_cast<std::size_t>(BackendState::healthy)], 2u);
}

TEST_F(HealthMonitorTest, AllDeadAsConfigured) {
    Config config = checked_config();
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::failed, "connection refused", 2);
    probes.answer("10.1.1.12", ProbeOutcome::failed, "connection refused", 2);
    flush();
    EXPECT_EQ(serving(), "w1w2");
    EXPECT_EQ(known(0), TrafficState::serving);
    config.pools[0].minimum_healthy.action = BelowMinimum::drop;
    apply(config);
    EXPECT_EQ(serving(), "-");
    EXPECT_TRUE(monitor.withdrawn_vips(config).empty());
    config.pools[0].minimum_healthy.action = BelowMinimum::withdraw;
    apply(config);
    EXPECT_EQ(monitor.withdrawn_vips(config), std::set{ip("203.0.113.10")});
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200", 3);
    flush();
    EXPECT_EQ(serving(), "w1");
    EXPECT_TRUE(monitor.withdrawn_vips(config).empty());
}

TEST_F(HealthMonitorTest, UnhealthyFlowsKeptForAWhile) {
    Config config = checked_config();
    config.pools[0].unhealthy_flows = UnhealthyFlows::keep;
    config.pools[0].unhealthy_draining = seconds(10);
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::timeout, "no answer within 2s", 2);
    flush();
    EXPECT_EQ(state_of("w2"), "unhealthy.draining Target.Timeout");
    EXPECT_EQ(known(1), TrafficState::draining);
    EXPECT_EQ(serving(), "w1");
    pass(seconds(10));
    settle();
    EXPECT_EQ(state_of("w2"), "unhealthy Target.Timeout");
    EXPECT_EQ(known(1), TrafficState::cut);
    config.pools[0].unhealthy_draining = Duration(0);
    apply(config);
    EXPECT_EQ(known(1), TrafficState::draining) << "as long as they last";
    config.pools[0].unhealthy_flows = UnhealthyFlows::reset;
    apply(config);
    EXPECT_EQ(known(1), TrafficState::cut);
}

TEST_F(HealthMonitorTest, ABackendThatBecomesHealthyStartsSlowly) {
    Config config = checked_config();
    config.pools[0].slow_start = seconds(30);
    start(config);
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    flush();
    const std::uint64_t checksum = world.snapshot()->pools[0]->maglev.checksum();
    ASSERT_FALSE(world.snapshot()->pools[0]->ramps.empty());
    EXPECT_EQ(world.snapshot()->pools[0]->ramps[0], (Ramp{Tick{640}, 30 * kTicksPerSecond}));
    pass(seconds(30));
    settle();
    EXPECT_TRUE(world.snapshot()->pools[0]->ramps.empty());
    EXPECT_EQ(world.snapshot()->pools[0]->maglev.checksum(), checksum);
}

TEST_F(HealthMonitorTest, SignsOfTroubleBringAProbeForwardAndDoNothingElse) {
    for (const bool passive : {false, true}) {
        Config config = checked_config();
        config.pools[0].health_check->passive = passive;
        passive ? apply(config) : start(config);
        pass(seconds(1));
        workers[0].backends[0].syn_repeats.add(1);
        workers[1].backends[0].syn_repeats.add(1);
        workers[0].backends[1].client_resets.add(9);
        pass(seconds(1));
        for (const auto& [id, one] : probes.subscriptions) EXPECT_EQ(one.brought_forward, 0u) << "too few";
        workers[1].backends[0].syn_repeats.add(3);
        workers[0].backends[1].client_resets.add(10);
        const std::uint64_t before = world.generation();
        pass(seconds(1));
        pass(seconds(1));
        for (const auto& [id, one] : probes.subscriptions) EXPECT_EQ(one.brought_forward, passive ? 1u : 0u);
        EXPECT_EQ(world.generation(), before);
    }
}

TEST_F(HealthMonitorTest, WhoCannotBeProbedForWantOfWeirsOwnMeansIsUnavailable) {
    start(checked_config());
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    monitor.set_can_probe(false);
    EXPECT_EQ(state_of("w1"), "healthy ") << "it has a verdict";
    EXPECT_EQ(state_of("w2"), "unavailable Elb.InternalError");
    monitor.set_can_probe(true);
    EXPECT_EQ(state_of("w2"), "initial Elb.InitialHealthChecking");
}

TEST_F(HealthMonitorTest, ManyResultsAreOnePublication) {
    start(checked_config());
    const std::uint64_t before = world.generation();
    probes.answer("10.1.1.11", ProbeOutcome::success, "HTTP 200");
    probes.answer("10.1.1.12", ProbeOutcome::failed, "connection refused", 2);
    EXPECT_TRUE(monitor.flush(world));
    EXPECT_EQ(world.generation(), before + 1);
    EXPECT_FALSE(monitor.flush(world)) << "nothing is left to say";
    EXPECT_EQ(world.generation(), before + 1);
}

}  // namespace
}  // namespace weir
