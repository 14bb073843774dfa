// How large a configuration wants each worker's tables.
#pragma once

#include "ctrl/config/config.h"
#include "ctrl/config/needs_sessions.h"
#include "dataplane/table_memory.h"

namespace weir {

// Sessions only where something is translated.
[[nodiscard]] inline TableSizes table_sizes(const Config& config) {
    const DataplaneConfig& dataplane = config.dataplane;
    return {dataplane.flows_per_worker, dataplane.sticky_clients_per_worker,
            needs_sessions(config) ? dataplane.sessions_per_worker : 0};
}

}  // namespace weir
