// IP headers of packets that weir sends of its own accord. Each packet is short enough that nobody fragments
// it: IPv4 has DF set and needs no identification (RFC 6864 4.1). Pure functions.
#pragma once

#include <cstdint>

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"

namespace weir {

inline constexpr std::uint8_t kFreshTtl = 64;

// In front of `length` bytes of the protocol.
inline Ipv4Header own_header(const Ipv4Address& source, const Ipv4Address& destination, IpProtocol protocol,
                             std::uint32_t length) noexcept {
    Ipv4Header ip{};
    ip.version_ihl = Ipv4Header::kVersion4NoOptions;
    ip.total_length = Be16(static_cast<std::uint16_t>(sizeof(ip) + length));
    ip.fragment = Be16(Ipv4Header::kDontFragment);
    ip.ttl = kFreshTtl;
    ip.protocol = static_cast<std::uint8_t>(protocol);
    ip.source = source;
    ip.destination = destination;
    ip.checksum = checksum_of(sum_of_bytes(&ip, sizeof(ip)));
    return ip;
}
inline Ipv6Header own_header(const Ipv6Address& source, const Ipv6Address& destination, IpProtocol protocol,
                             std::uint32_t length) noexcept {
    Ipv6Header ip{};
    ip.version_class_label = Be32(6u << 28);
    ip.payload_length = Be16(static_cast<std::uint16_t>(length));
    ip.next_header = static_cast<std::uint8_t>(protocol);
    ip.hop_limit = kFreshTtl;
    ip.source = source;
    ip.destination = destination;
    return ip;
}

}  // namespace weir
