// The 5-tuple of a classified packet, once more from its bytes: few packets need it after they are hashed,
// and a column of keys would cost all of them.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/net/parse_headers.h"

namespace weir {

// `ip` is where the packet's IP header is by now.
template <class F>
[[nodiscard]] auto flow_of(const Burst& burst, std::uint32_t i, const std::uint8_t* ip) noexcept {
    const L4Location l4{.protocol = burst.protocol(i), .offset = burst.l4_offset[i], .fragment = false};
    return flow_blocks_of({.data = ip, .contiguous = 0, .length = 0}, l4, F{});
}

}  // namespace weir
