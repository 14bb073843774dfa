#include "dataplane/net/parse_headers.h"

#include <algorithm>

namespace weir {

namespace {

constexpr unsigned kMaxExtensions = 8;

bool is_v4_mapped(const Ipv6Address& address) noexcept {
    constexpr std::uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::equal(std::begin(kPrefix), std::end(kPrefix), address.bytes.begin());
}

// "::" and "::1"
bool is_unspecified_or_loopback(const Ipv6Address& address) noexcept {
    return std::all_of(address.bytes.begin(), address.bytes.end() - 1,
                       [](std::uint8_t b) { return b == 0; }) &&
           address.bytes[15] <= 1;
}

}  // namespace

bool is_martian_source_outside_unicast(const Ipv6Address& address, IpProtocol next_header) noexcept {
    if (address.bytes[0] == 0xff || is_v4_mapped(address)) return true;
    // RFC 4007 9: a link-local source may not leave its link, and a backend may well be on another.
    const bool link_local = address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
    const bool unspecified = address == Ipv6Address{};
    if (next_header == IpProtocol::icmpv6)
        return !link_local && !unspecified && is_unspecified_or_loopback(address);
    return link_local || is_unspecified_or_loopback(address);
}

bool is_martian_destination(const Ipv6Address& address) noexcept {
    return address.bytes[0] == 0xff || is_unspecified_or_loopback(address) || is_v4_mapped(address);
}

bool are_ipv4_options_acceptable(std::span<const std::uint8_t> options) noexcept {
    constexpr std::uint8_t kEnd = 0, kNoOperation = 1, kLooseRoute = 131, kStrictRoute = 137;
    std::size_t at = 0;
    while (at < options.size()) {
        const std::uint8_t type = options[at];
        if (type == kEnd) return true;
        if (type == kNoOperation) {
            ++at;
            continue;
        }
        if (type == kLooseRoute || type == kStrictRoute) return false;
        if (at + 1 >= options.size()) return false;
        const std::uint8_t length = options[at + 1];
        if (length < 2 || at + length > options.size()) return false;
        at += length;
    }
    return true;
}

DropReason detail::check_unusual_ipv4(const PacketBytes& packet, bool checksum_is_good,
                                      std::uint16_t& ip_length) noexcept {
    const std::uint8_t version_ihl = packet.at<Ipv4Header>(0).version_ihl;
    if (version_ihl >> 4 != 4) return DropReason::ip_version;
    const std::uint32_t header_length = (version_ihl & 15u) * 4u;
    if (header_length < sizeof(Ipv4Header)) return DropReason::ip_header_length;
    return check_ipv4(packet, header_length, checksum_is_good, ip_length);
}

DropReason walk_extensions(const PacketBytes& packet, L4Location& l4) noexcept {
    std::uint32_t at = l4.offset;
    for (unsigned seen = 0;; ++seen) {
        const bool is_fragment_header = l4.protocol == IpProtocol::fragment;
        const bool is_extension = is_fragment_header || l4.protocol == IpProtocol::hop_by_hop ||
                                  l4.protocol == IpProtocol::routing ||
                                  l4.protocol == IpProtocol::destination_options;
        l4.offset = static_cast<std::uint16_t>(at);
        if (!is_extension) return kNotDropped;
        if (seen == kMaxExtensions) return DropReason::ext_chain;
        if (l4.protocol == IpProtocol::hop_by_hop && seen != 0) return DropReason::ext_chain;
        if (at + sizeof(Ipv6Fragment) > packet.length) return DropReason::ext_chain;
        if (at + sizeof(Ipv6Fragment) > packet.contiguous) return DropReason::segmented;

        if (is_fragment_header) {
            const auto& header = packet.at<Ipv6Fragment>(at);
            constexpr std::uint16_t kOffsetAndMore = 0xfff9;
            l4.protocol = static_cast<IpProtocol>(header.next_header);
            at += sizeof(Ipv6Fragment);
            if ((header.offset_more.value() & kOffsetAndMore) != 0) {
                l4.fragment = true;  // what follows is no header that could be trusted
                l4.offset = static_cast<std::uint16_t>(at);
                return kNotDropped;
            }
            continue;
        }
        const auto& header = packet.at<Ipv6Extension>(at);
        const bool live_route = header.segments_left != 0 || header.type == 0;
        if (l4.protocol == IpProtocol::routing && live_route) return DropReason::ext_chain;
        l4.protocol = static_cast<IpProtocol>(header.next_header);
        at += 8u + 8u * header.length;
        if (at > packet.length) return DropReason::ext_chain;
    }
}

}  // namespace weir
