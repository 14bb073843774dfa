// HealthMonitor with a World, against workers that only count and probes that the test answers. Time is the
// test's.
#include "ctrl/health/monitor.h"

#include <gtest/gtest.h>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class AnsweringProbes final : public ProbeSource {
  public:
    struct Subscription {
        ProbeSpec spec;
        Duration interval;
        Callback callback;
        unsigned brought_forward = 0;
    };
    ProbeId add(const ProbeSpec& spec, Duration interval, const std::string&, Callback callback) override {
        ++added;
        subscriptions[ProbeId{added}] = {spec, interval, std::move(callback)};
        return ProbeId{added};
    }
    void remove(ProbeId id) override { subscriptions.erase(id); }
    void probe_now(ProbeId id) override { ++subscriptions.at(id).brought_forward; }
    // All probes of an address get this answer, `times` times.
    void answer(std::string_view address, ProbeOutcome outcome, const std::string& words, int times = 1) {
        for (int i = 0; i < times; ++i)
            for (const auto& [id, subscription] : std::map(subscriptions))
                if (subscription.spec.address == ip(address)) subscription.callback({outcome, words, {}});
    }
    std::map<ProbeId, Subscription> subscriptions;
    std::uint64_t added = 0;
};

class HealthMonitorTest : public testing::Test {
  protected:
    HealthMonitorTest() {
        monitor.on_news([this] { ++news; });
    }

    WorldOptions world_options() {
        WorldOptions result;
        result.ports = edge_facts();
        result.now = [this] { return now; };
        result.assigned = [this](World& to, const ConfigDelta& delta) { monitor.assigned(to, delta); };
        return result;
    }
    HealthMonitorOptions monitor_options() {
        HealthMonitorOptions result;
        result.now = [this] { return now; };
        result.unix_time = [this] { return unix_time; };
        result.tick = [] { return Tick{640}; };
        result.notify = [this](Severity, const std::string& sentence) { sentences.push_back(sentence); };
        return result;
    }
    static Config checked_config() {
        Config config = web_config();
        config.pools[0].health_check.emplace().protocol = ProbeProtocol::http;
        return config;
    }
    void apply(const Config& config) {
        const auto report = world.apply(config);
        ASSERT_TRUE(report) << report.error().message;
        settle();
    }
    void start(const Config& config) {
        apply(config);
        monitor.start(probes);
    }
    void settle() {
        for (int i = 0; i < 3; ++i) pass(milliseconds(30));
    }
    void pass(milliseconds time) {
        now += time;
        workers.take(world.generation());
        world.tick();
        monitor.tick(world);
    }
    void flush() {
        monitor.flush(world);
        settle();
    }
    [[nodiscard]] const MonitoredBackend& row(std::string_view name) {
        rows = monitor.rows();
        for (const MonitoredBackend& one : rows)
            if (one.name == name) return one;
        static const MonitoredBackend kNone;
        return kNone;
    }
    [[nodiscard]] std::string state_of(std::string_view name) {
        const MonitoredBackend& one = row(name);
        return std::string(name_of(one.status.state)) + " " + std::string(one.status.reason);
    }
    // Names of the members that have slots.
    [[nodiscard]] std::string serving() const {
        const PoolTable& table = *world.snapshot()->pools[0];
        std::set<std::uint16_t> found(table.maglev.slots().begin(), table.maglev.slots().end());
        std::string names;
        for (const std::uint16_t member : found)
            names += member == MaglevTable::kNoMember ? "-" : member == 0 ? "w1" : "w2";
        return names;
    }
    [[nodiscard]] TrafficState known(std::uint32_t id) const {
        return world.snapshot()
            ->backends[static_cast<std::size_t>(ForwardingMode::ipip)][BackendId{id}]
            .state;
    }

    std::chrono::steady_clock::time_point now{};
    double unix_time = 1'000'000;
    std::vector<std::string> sentences;
    unsigned news = 0;
    CountingWorkers workers{2};
    AnsweringProbes probes;
    HealthMonitor monitor{monitor_options()};
    World world{world_options(), workers.all()};
    std::vector<MonitoredBackend> rows;
};

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
