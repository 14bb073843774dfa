// HealthMonitor with a World, against workers that only count and probes that the test answers. Time is the
// test's.
#pragma once

#include "ctrl/health/monitor.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/ctrl/config_builder.h"

namespace weir {

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

}  // namespace weir
