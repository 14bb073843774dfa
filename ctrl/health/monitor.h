// HealthMonitor: what probes, the operator and time say of every backend, turned into what each may get. Step
// "monitor" of probe -> dampen -> monitor -> compile -> publish.
//
// Theory of operation. A Member stands for one BackendId from its registration until its last flow has ended.
// Three things change it: the configuration (assigned(): new, removed and drained members), a probe's result
// (dampened by health.h), and time (tick(): the ends of drains, of unhealthy_draining, of slow starts). Each
// of them marks the member's pool. flush() judges the marked pools (pool_policy.h), tells World what each
// member may get, and publishes once, however many results had come.
//
// What is shown of a member is a pure function of its facts (ctrl/backend_state.h); refresh() compares it
// with what was shown before, and tells the operator of a change. A member that has left is shown as `unused`
// for kRemembered more.
//
// The control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ctrl/backend_state.h"
#include "ctrl/health/health.h"
#include "ctrl/health/pool_policy.h"
#include "ctrl/health/probe_source.h"
#include "ctrl/health/saved_health.h"
#include "ctrl/metrics/duration_histogram.h"
#include "ctrl/notify.h"
#include "ctrl/world.h"

namespace weir {

// A backend as operators see it.
struct MonitoredBackend {
    std::string pool, name;
    IpAddress address;
    std::optional<std::uint16_t> port;
    std::string zone;
    unsigned weight = 1;
    BackendStatus status;
    std::string description;    // the last probe's answer in plain words; may be empty
    double since = 0;           // of the state; seconds since 1970
    BackendId id = kNoBackend;  // none: it has left
};

struct PoolHealth {
    bool below_minimum = false, fails_open = false, spills_over = false, withdrawn = false;
    bool operator==(const PoolHealth&) const = default;
};

struct HealthMonitorOptions {
    using Time = std::chrono::steady_clock::time_point;
    std::function<Time()> now = std::chrono::steady_clock::now;
    std::function<double()> unix_time;  // seconds since 1970; empty: the system's clock
    std::function<Tick()> tick;         // the workers' time, for slow starts; empty: there are none
    Notify notify;                      // may be empty
    SavedHealth saved;                  // of the last run, if that is not long ago
};

// The first service that uses a pool, as far as probes ask for it.
struct PoolUse {
    std::uint16_t port = 0;  // where a backend without a port is probed
    IpAddress vip;
    ForwardingMode mode{};
    bool operator==(const PoolUse&) const = default;
};

class HealthMonitor {
  public:
    using Time = HealthMonitorOptions::Time;
    static constexpr std::chrono::seconds kRemembered{300};
    static constexpr std::size_t kMostRemembered = 1'000;
    // Signs of trouble within a second that bring a probe forward, where the pool's check is `passive`.
    // Anyone can forge them, so that is all that they do.
    static constexpr std::uint64_t kTroublingRepeats = 3, kTroublingResets = 10;

    explicit HealthMonitor(HealthMonitorOptions options);
    ~HealthMonitor();

    // World's `assigned`.
    void assigned(World& world, const ConfigDelta& delta);
    // From now on members are probed. `probes` outlives this. Once.
    void start(ProbeSource& probes);
    // Judges the pools that something has changed in; publishes if that changes what backends may get.
    // Returns whether it did.
    bool flush(World& world);
    [[nodiscard]] bool has_news() const { return !marked_.empty(); }
    // Called when a result makes news: flush() soon, and once for all that come until then.
    void on_news(std::function<void()> call) { on_news_ = std::move(call); }
    // VIPs whose every service has a pool that wants it withdrawn.
    [[nodiscard]] std::set<IpAddress> withdrawn_vips(const Config& config) const;
    // Whether weir has what it takes to probe (descriptors, memory): who has no verdict is shown by it.
    void set_can_probe(bool can);
    // Whatever time brings. Call it every few milliseconds; it looks at what is due only.
    void tick(World& world);

    // Sorted by pool and name; those that have left come last in their pool.
    [[nodiscard]] std::vector<MonitoredBackend> rows() const;
    // Null: nobody has the id.
    [[nodiscard]] const BackendStatus* status_of(BackendId id) const;
    // Null: no such pool.
    [[nodiscard]] const PoolHealth* pool(std::string_view name) const;
    // Changes of state by what they led to. By (pool, backend).
    using Transitions =
        std::map<std::pair<std::string, std::string>, std::array<std::uint64_t, kBackendStates>>;
    [[nodiscard]] const Transitions& transitions() const { return transitions_; }
    // From a result that changed a verdict until every worker uses it.
    [[nodiscard]] const DurationHistogram& reaction_durations() const { return reactions_; }
    // Grows with every change of what rows() or pool() say.
    [[nodiscard]] std::uint64_t version() const { return version_; }
    // For the next start.
    [[nodiscard]] SavedHealth save() const;

  private:
    struct Member;
    struct Pool;

    using UsedPools = std::map<std::string_view, PoolUse>;
    void follow_pool(World& world, const PoolConfig& config, const UsedPools& used,
                     const std::string& own_zone);
    void follow_member(World& world, Pool& pool, const IdRegistry::Backend& known,
                       const BackendConfig* config);
    void follow_services(const UsedPools& used);
    void register_member(World& world, Pool& pool, Member& member);
    void begin_leaving(Pool& pool, Member& member, Leaving how);
    void forget_cut(const World& world);
    void forget(Pool& pool, BackendId id);
    void remember(const Pool& pool, const Member& member);
    void probe(Pool& pool, Member& member);
    void stop_probing(Member& member);
    void take_result(BackendId id, const ProbeResult& result);
    void verdict_changed(Pool& pool, Member& member);
    void begin_ramp(const Pool& pool, Member& member);
    void refresh(Pool& pool, Member& member);
    [[nodiscard]] BackendFacts facts_of(const Pool& pool, const Member& member) const;
    void judge(World& world, Pool& pool);
    [[nodiscard]] TrafficState leaver_traffic(const Pool& pool, const Member& member, bool fails_open) const;
    void show_pool(Pool& pool, const PoolTraffic& traffic, std::size_t registered);
    [[nodiscard]] static bool is_leaving(const Member& member);
    void mark(Pool& pool);
    void tick_members(World& world, Time now);
    void tick_leaving(World& world, Pool& pool, Member& member, Time now);
    void measure(const World& world, Time now);
    void look_for_trouble(const World& world);
    void notify(Severity severity, const std::string& sentence) const;

    HealthMonitorOptions options_;
    std::function<void()> on_news_;
    bool can_probe_ = true;
    ProbeSource* probes_ = nullptr;
    std::map<std::string, std::unique_ptr<Pool>, std::less<>> pools_;
    std::map<BackendId, std::pair<Pool*, std::unique_ptr<Member>>> members_;
    std::set<BackendId> waiting_;  // for time, or for the workers
    std::set<Pool*> marked_;
    std::deque<std::pair<Time, MonitoredBackend>> departed_;
    Transitions transitions_;
    std::deque<std::pair<std::uint64_t, Time>> reacting_;  // generation, and when the result came
    std::vector<Time> unpublished_;                        // results that no generation has yet
    DurationHistogram reactions_;
    std::uint64_t version_ = 0;
    Time next_tick_{}, next_look_for_trouble_{};
};

}  // namespace weir
