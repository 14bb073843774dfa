// How large a configuration wants each worker's tables.
#pragma once

#include <algorithm>

#include "ctrl/config/config.h"
#include "dataplane/table_memory.h"

namespace weir {

// No sessions where no port has an address to translate to.
[[nodiscard]] inline TableSizes table_sizes(const Config& config) {
    const bool translates = std::ranges::any_of(
        config.ports, [](const PortConfig& port) { return !port.snat.addresses.empty(); });
    const DataplaneConfig& dataplane = config.dataplane;
    return {dataplane.flows_per_worker, dataplane.sticky_clients_per_worker,
            translates ? dataplane.sessions_per_worker : 0};
}

}  // namespace weir
