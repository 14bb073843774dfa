// What tells a link that a VIP is here: a gratuitous ARP or an unsolicited neighbour advertisement. Control
// side; pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/net/address.h"

namespace weir {

// A whole Ethernet frame to all hosts of the link, without a VLAN tag, not shorter than Ethernet allows (60
// bytes before the checksum).
//   IPv4: an ARP announcement (RFC 5227 2.3): a request in which sender and target are the VIP. (The
//   request's form: RFC 5227 3 says why, and what some hosts make of replies that they have not asked for.)
//   IPv6: RFC 4861 7.2.6, to ff02::1, with the override flag and the target's link-layer address; weir is no
//   router for the VIP.
[[nodiscard]] std::vector<std::uint8_t> announcement_frame(const IpAddress& vip, const MacAddress& mac);

}  // namespace weir
