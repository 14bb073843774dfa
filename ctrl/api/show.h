// What `weirctl show` asks for, as JSON. Counts are since start; those of services and backends begin with
// the present owner of the id, as the metrics do. The control thread.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "ctrl/api/backend_directory.h"
#include "ctrl/metrics/metrics_input.h"
#include "ctrl/world.h"
#include "drivers/result.h"

namespace weir {

struct ShowSources {
    const World& world;  // a configuration is in force
    BackendDirectory backends;
    std::function<std::span<const PortStatistics>()> ports;  // by PortId
    std::uint64_t flow_capacity = 0;                         // of each worker
};

// `what`: services, pools, backends, flows, workers, ports, drops.
[[nodiscard]] Result<nlohmann::ordered_json> show(const std::string& what, const ShowSources& sources);

// Of show.cc and show_counters.cc.
[[nodiscard]] nlohmann::ordered_json show_services(const ShowSources& sources);
[[nodiscard]] nlohmann::ordered_json show_pools(const ShowSources& sources);
[[nodiscard]] nlohmann::ordered_json show_backends(const ShowSources& sources);
[[nodiscard]] nlohmann::ordered_json show_flows(const ShowSources& sources);
[[nodiscard]] nlohmann::ordered_json show_workers(const ShowSources& sources);
[[nodiscard]] nlohmann::ordered_json show_ports(const ShowSources& sources);
[[nodiscard]] nlohmann::ordered_json show_drops(const ShowSources& sources);

}  // namespace weir
