// What of the traffic on a port is for the host (weir's own addresses) or for everybody on the link. On a
// port with a host interface that is the kernel's; VIPs never are (DESIGN.md section 6).
#pragma once

#include <algorithm>

#include "dataplane/net/family.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

// Multicast, and IPv4's limited broadcast.
constexpr bool is_group(Ipv4Address address) noexcept {
    const std::uint32_t bits = address.bits.value();
    return bits >> 28 == 0xe || bits == 0xffff'ffff;
}
constexpr bool is_group(const Ipv6Address& address) noexcept { return address.bytes[0] == 0xff; }

constexpr bool is_link_local(const Ipv6Address& address) noexcept {
    return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

// One of the port's own addresses.
template <class F>
bool is_own_address(const PortRecord& port, const typename F::Address& address) noexcept {
    return std::find(port.addresses.begin(), port.addresses.end(), IpAddress(address)) !=
           port.addresses.end();
}

// True if weir itself speaks for the address on this port: for a VIP, and for the port's own addresses where
// no kernel does. A VIP that is the port's own address is the kernel's, but for its services.
template <class F>
bool is_answered_for(const ForwardingSnapshot& world, PortId id,
                     const typename F::Address& address) noexcept {
    const PortRecord& port = world.ports[index(id)];
    const bool is_vip = world.services.find_vip(address) != ServiceTable::kNotVip;
    const bool is_own = is_own_address<F>(port, address);
    return port.has_host ? is_vip && !is_own : is_vip || is_own;
}

// A packet whose source may not be forwarded, yet is right on its link: from a link-local address, or to a
// group from somebody who has no address yet (RFC 2131 4.1, RFC 3590). Precondition: a whole header.
inline bool stays_on_link(const Ipv4Header& ip) noexcept {
    return ip.source == Ipv4Address{} && is_group(ip.destination) && ip.ttl != 0;
}
inline bool stays_on_link(const Ipv6Header& ip) noexcept {
    const bool speaks_to_group = ip.source == Ipv6Address{} && is_group(ip.destination);
    return (is_link_local(ip.source) || speaks_to_group) && ip.source != ip.destination && ip.hop_limit != 0;
}

}  // namespace weir
