// The 5-tuple of a packet, laid out in whole 16-byte blocks so that the keyed hash reads it as it is.
// Unused bytes are zero. Trivially copyable; any thread.
#pragma once

#include <cstdint>
#include <type_traits>

#include "dataplane/net/address.h"
#include "dataplane/net/byte_order.h"

namespace weir {

struct alignas(16) FlowKeyV4 {
    Ipv4Address source;
    Ipv4Address destination;
    Be16 source_port;
    Be16 destination_port;
    IpProtocol protocol;
    std::uint8_t zero[3];

    friend constexpr bool operator==(const FlowKeyV4&, const FlowKeyV4&) noexcept = default;
};

struct alignas(16) FlowKeyV6 {
    Ipv6Address source;
    Ipv6Address destination;
    Be16 source_port;
    Be16 destination_port;
    IpProtocol protocol;
    std::uint8_t zero[11];

    friend constexpr bool operator==(const FlowKeyV6&, const FlowKeyV6&) noexcept = default;
};

static_assert(sizeof(FlowKeyV4) == 16 && sizeof(FlowKeyV6) == 48);
static_assert(std::is_trivially_copyable_v<FlowKeyV4> && std::is_trivially_copyable_v<FlowKeyV6>);

}  // namespace weir
