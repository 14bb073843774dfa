// What a forwarding mode puts before a packet. Pure functions; any thread.
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/tables/forwarding_mode.h"

namespace weir {

constexpr bool is_tunnel(ForwardingMode mode) noexcept {
    return mode == ForwardingMode::ipip || mode == ForwardingMode::gue;
}

// Bytes before a packet for a backend of family `outer`: the outer IP header; for GUE also UDP and 4 bytes of
// GUE.
constexpr unsigned tunnel_overhead(ForwardingMode mode, Family outer) noexcept {
    if (!is_tunnel(mode)) return 0;
    return (outer == Family::v4 ? 20u : 40u) + (mode == ForwardingMode::gue ? 12u : 0u);
}

}  // namespace weir
