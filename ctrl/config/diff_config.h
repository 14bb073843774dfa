// The route "config: ... -> diff -> compile": what a reload would change, in sentences, and what it may not.
// Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "ctrl/config/config.h"

namespace weir {

struct ConfigDiff {
    // "pool web: backend TestWeb02 removed", "service web: port 80 -> 80,443": what a reload puts in force.
    std::vector<std::string> changes;
    // "dataplane.workers: 1 -> 2", "ports edge: device ...": a reload that has any of these is refused.
    std::vector<std::string> needs_restart;
    [[nodiscard]] bool empty() const noexcept { return changes.empty() && needs_restart.empty(); }
};

// Things are the same thing if they have the same name (neighbors: address; routes: prefix), whatever their
// order in the file; only the order of ports matters (it is their number). In the order of the new
// configuration, removals first. Both configurations are valid.
[[nodiscard]] ConfigDiff diff_config(const Config& old_config, const Config& new_config);

}  // namespace weir
