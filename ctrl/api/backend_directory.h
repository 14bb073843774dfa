// What operators are told of each backend, whoever knows it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ctrl/health/monitor.h"
#include "ctrl/world.h"
#include "dataplane/net/address.h"

namespace weir {

struct BackendRow {
    std::string pool, name;
    IpAddress address;
    std::optional<std::uint16_t> port;
    std::string zone;
    unsigned weight = 0;
    std::string state, reason;    // of AWS ELB, verbatim; no reason: empty
    std::string description;      // in plain words: the last probe's answer, or what the state means
    std::optional<double> since;  // seconds since 1970; absent: not known
    std::uint64_t active_flows = 0;
};

// Every backend in force, those that are draining and those that have left of late, in the order of pools,
// then names. The control thread.
using BackendDirectory = std::function<std::vector<BackendRow>()>;

[[nodiscard]] std::vector<BackendRow> monitored_backends(const HealthMonitor& monitor, const World& world);

}  // namespace weir
