// What kind of packet goes up to the kernel. One enum: each value has a token bucket of its own
// (state/punt_limits.h), a counter and the metric label of the same name.
//
// So a flood of one kind leaves the others alone. The first two cannot be entered unasked: a packet belongs
// there because the kernel has lately sent to that peer (state/host_flows.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir {

// X(name, packets a second, packets at once, help). The limits are the appliance's; why they are what they
// are: docs/operating.md, "What the kernel gets".
// clang-format off
#define WEIR_PUNT_CLASSES(X)                                                                                 \
    X(talking, 200'000, 8'192, "TCP and UDP flows in which the kernel has lately sent something")            \
    X(neighbor, 5'000, 1'024, "ARP and neighbour discovery from an address that the kernel has lately asked") \
    X(bgp, 2'000, 512, "TCP port 179 otherwise")                                                             \
    X(routing, 5'000, 1'024, "BFD, OSPF, VRRP")                                                              \
    X(arp, 1'000, 256, "ARP otherwise")                                                                      \
    X(nd, 1'000, 256, "neighbour and multicast listener discovery otherwise")                                \
    X(icmp, 1'000, 256, "ICMP to the port's own addresses")                                                  \
    X(tcp_syn, 500, 128, "TCP that opens a connection")                                                      \
    X(tcp, 2'000, 512, "TCP otherwise")                                                                      \
    X(udp, 2'000, 512, "UDP otherwise")                                                                      \
    X(link, 500, 128, "multicast, broadcast and other EtherTypes, LLDP and LACP among them")                 \
    X(other, 500, 128, "fragments and other protocols")
// clang-format on

enum class PuntClass : std::uint8_t {
#define WEIR_PUNT_ENUM(name, rate, burst, help) name,
    WEIR_PUNT_CLASSES(WEIR_PUNT_ENUM)
#undef WEIR_PUNT_ENUM
};

inline constexpr std::array kPuntClassNames = {
#define WEIR_PUNT_NAME(name, rate, burst, help) std::string_view{#name},
    WEIR_PUNT_CLASSES(WEIR_PUNT_NAME)
#undef WEIR_PUNT_NAME
};

inline constexpr std::size_t kPuntClasses = kPuntClassNames.size();

// What a link lives by. The rest gives way to it where room is short.
constexpr bool is_vital(PuntClass punt_class) noexcept {
    using enum PuntClass;
    return punt_class == talking || punt_class == neighbor || punt_class == bgp || punt_class == routing;
}

constexpr std::string_view name_of(PuntClass punt_class) noexcept {
    return kPuntClassNames[static_cast<std::size_t>(punt_class)];
}

}  // namespace weir
