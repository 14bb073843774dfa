// The report of a replay: every counter of every worker, what was assumed, and whether everything adds up.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>

#include "ctrl/offline_world.h"
#include "dataplane/state/worker_counters.h"

namespace weir {

// A list or number for each of: received, forwarded, answered, punted, dropped {reason: n}, originated,
// unaccounted, services, pools, backends, workers, assumptions. Bytes are those of the IP packets as
// received.
[[nodiscard]] nlohmann::ordered_json make_replay_report(const OfflineWorld& world,
                                                        std::span<WorkerCounters* const> workers);

}  // namespace weir
