// What HealthMonitor keeps of a pool and of each of its members. For monitor*.cc only.
#pragma once

#include "ctrl/health/monitor.h"
#include "ctrl/metrics/counter_sums.h"

namespace weir {

struct HealthMonitor::Member {
    BackendId id = kNoBackend;
    std::string name;
    IpAddress address;
    std::optional<std::uint16_t> port;
    std::string zone;
    unsigned weight = 1;
    std::uint64_t generation = 0;  // that registered it
    BackendHealth health;
    // Of the last run, or by the check before this one: holds until the present check has a verdict.
    std::optional<BackendHealth> inherited;
    std::string answer;
    BackendStatus shown;
    double since = 0;
    std::optional<ProbeId> probe;
    std::optional<ProbeSpec> spec;
    Duration interval{0};
    Leaving leaving = Leaving::no;
    Time leaves_at{};                 // the drain's deadline
    bool cut = false;                 // it has passed, and the pool ends flows then
    std::optional<Time> keeps_until;  // unhealthy: its flows are its own so long
    Ramp ramp{};                      // slow start
    std::optional<Time> ramps_until;

    // What its id had counted at the last look; absent: nobody has looked.
    std::optional<BackendSums> seen;

    [[nodiscard]] const BackendHealth& effective() const {
        return health.verdict == HealthVerdict::none && inherited ? *inherited : health;
    }
    [[nodiscard]] bool is_registered() const {
        return leaving != Leaving::deregistering && leaving != Leaving::deregistered;
    }
};

struct HealthMonitor::Pool {
    PoolConfig config;
    std::string own_zone;        // weir's
    std::optional<PoolUse> use;  // absent: no service uses it
    std::set<BackendId> members;
    PoolHealth shown;

    [[nodiscard]] bool is_used() const { return use.has_value(); }
    [[nodiscard]] HealthThresholds thresholds() const {
        return {config.health_check->healthy_threshold, config.health_check->unhealthy_threshold};
    }
};

}  // namespace weir
