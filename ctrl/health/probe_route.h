// How the kernel leads the probes that go through a VIP: their sockets bear a mark, and a rule sends what
// bears it to a table of weir's own, whose default route leads by a next hop that does not exist to a host
// interface (ctrl/host_side.h). So they need neither the VIPs' routes, which are announced and withdrawn, nor
// a neighbour for each VIP, and no other traffic to a VIP is led astray.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir {

inline constexpr std::uint32_t kProbeMark = 0x5745'4952;  // "WEIR"
inline constexpr std::uint32_t kProbeTable = 87;          // `ip route show table 87`
inline constexpr std::uint32_t kProbeRulePriority = 870;  // before those of main, 32766
// Link-local, of nobody; their MAC is kProbeGatewayMac.
inline constexpr std::string_view kProbeGatewayV4 = "169.254.87.1", kProbeGatewayV6 = "fe80::5745:4952";

}  // namespace weir
