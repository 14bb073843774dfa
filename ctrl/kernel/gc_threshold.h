// Has the kernel's neighbour table room for weir's next hops?
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ctrl/kernel/kernel_ways.h"

namespace weir {

// A sentence if `hops` next hops of a family fill more than half of a table that ends at `gc_thresh3`
// (net.ipv4 or net.ipv6.neigh.default): the kernel refuses new neighbours then, the operator's own too.
[[nodiscard]] std::optional<std::string> gc_warning(Family family, std::size_t hops, std::size_t gc_thresh3);

// The same for both families and this kernel's settings. Nothing where they cannot be read: in a network
// namespace of its own a process does not see them.
[[nodiscard]] std::vector<std::string> check_gc_thresholds(const KernelWays& ways);

}  // namespace weir
