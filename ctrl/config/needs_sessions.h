// Whether workers need tables of sessions (modes nat and dnat), which are made at the start.
#pragma once

#include <algorithm>

#include "ctrl/config/config.h"

namespace weir {

// Some service, pool or backend asks for mode dnat.
[[nodiscard]] inline bool asks_for_dnat(const Config& config) {
    const auto is_dnat = [](const auto& item) { return item.forwarding == ForwardingMode::dnat; };
    return std::ranges::any_of(config.services, is_dnat) || std::ranges::any_of(config.pools, is_dnat) ||
           std::ranges::any_of(config.pools, [&](const PoolConfig& pool) {
               return std::any_of(pool.backends.begin(), pool.backends.end(), is_dnat);
           });
}

// Sessions where a port has an address to translate to, or sources are to stay.
[[nodiscard]] inline bool needs_sessions(const Config& config) {
    return asks_for_dnat(config) || std::ranges::any_of(config.ports, [](const PortConfig& port) {
               return !port.snat.addresses.empty();
           });
}

}  // namespace weir
