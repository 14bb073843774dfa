// The prober without a loop, a clock or sockets: who subscribes to what, what is under way, what is counted.
// prober.h says what its functions promise.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ctrl/health/probe_schedule.h"
#include "ctrl/health/probe_spec.h"
#include "ctrl/health/prober.h"
#include "ctrl/health/prober_statistics.h"
#include "ctrl/health/running_probe.h"

namespace weir {

class ProbeEngine {
  public:
    using Time = std::chrono::steady_clock::time_point;
    using Clock = std::function<Time()>;
    using Callback = Prober::Callback;

    // `transport` outlives this. options.most_in_flight is taken as it is.
    ProbeEngine(ProbeTransport& transport, Clock clock, ProberOptions options);

    ProbeId add(const ProbeSpec& spec, Duration interval, std::string_view owner, Callback callback);
    void remove(ProbeId id);
    void probe_now(ProbeId id);
    void forget_owner(std::string_view owner);
    [[nodiscard]] ProberStatistics statistics();

    // Reads answers, judges timeouts, begins what is due, all of it within a bounded time; calls back. Not to
    // be called from a callback.
    void turn();
    // When the next turn is due even if nothing comes; add() and probe_now() bring it forward.
    [[nodiscard]] std::optional<Time> next_turn();

  private:
    struct Key {
        ProbeSpec spec;
        Duration interval;
        bool operator==(const Key&) const = default;
    };
    struct KeyHash {
        std::size_t operator()(const Key& key) const { return hash_of(key.spec); }
    };
    struct Target {
        TargetId id{};
        std::vector<ProbeId> subscribers;
        std::unique_ptr<RunningProbe> probe;  // under way, or concluded and not yet told
        Time begun;
        std::chrono::nanoseconds took{0};
        std::optional<Verdict> verdict;
    };
    using Targets = std::unordered_map<Key, Target, KeyHash>;
    struct Owner {
        ProberStatistics::Owner counts;
        std::size_t subscriptions = 0;
    };
    struct Subscription {
        Targets::value_type* target;
        Owner* owner;
        std::shared_ptr<const Callback> callback;
    };

    void begin(TargetId id);
    void conclude(TargetId id, Verdict verdict);
    void judge_timeouts();
    void tell_concluded();
    void tell(TargetId id);
    void count(const std::vector<ProbeId>& subscribers, const ProbeResult& result);

    ProbeTransport& transport_;
    Clock clock_;
    std::function<std::string(const IpAddress&)> explain_silence_;
    ProbeSchedule schedule_;
    Targets targets_;
    std::unordered_map<TargetId, Targets::value_type*> by_id_;  // unordered_map's elements do not move
    std::unordered_map<ProbeId, Subscription> subscriptions_;
    std::map<std::string, Owner, std::less<>> owners_;
    std::vector<TargetId> concluded_;
    std::uint64_t last_target_ = 0, last_subscription_ = 0;
    ProberStatistics totals_;  // without owners
};

}  // namespace weir
