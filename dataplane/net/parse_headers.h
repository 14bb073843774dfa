// Bytes -> header facts, or the reason why the packet may not go on. Pure functions over bytes: the packet
// path, the fuzzer and the tests call the same ones. Any thread.
//
// Theory of operation. check_ip_header does what RFC 1812 5.2.2 demands before anything else may happen to a
// packet (and its like for IPv6): link length, version, header length, total length, checksum; then the
// martian sources of 5.3.7 and TTL 0. find_l4 walks from there to the L4 header (IPv4 options are skipped, an
// IPv6 extension chain is walked with a bound), and check_l4 says whether a whole TCP or UDP header lies
// there.
//
// `contiguous` is how many bytes lie at the pointer; `length` how long the whole packet is (its tail may lie
// in further mbuf segments). Headers must be contiguous (else `segmented`), the payload need not be.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/net/checksum.h"
#include "dataplane/net/drop_reason.h"
#include "dataplane/net/family.h"
#include "dataplane/net/headers.h"

namespace weir {

struct PacketBytes {
    const std::uint8_t* data;
    std::uint32_t contiguous;
    std::uint32_t length;

    // A header at `offset`. Precondition: it lies in the contiguous bytes.
    template <class Header>
    [[nodiscard]] const Header& at(std::uint32_t offset) const noexcept {
        return *reinterpret_cast<const Header*>(data + offset);
    }
};

struct L4Location {
    IpProtocol protocol;
    std::uint16_t offset;  // from the IP header
    bool fragment;         // a real fragment: ports may be missing, nothing but the address is known
};

// RFC 1812 5.3.7, RFC 6890: sources that no packet on a wire may have.
constexpr bool is_martian_source(Ipv4Address address) noexcept {
    const std::uint32_t first = address.bits.value() >> 24;
    return first == 0 || first == 127 || first >= 224;
}
// ICMPv6 may come from a link-local address or, while it looks for duplicates, from "::" (RFC 4861); nothing
// else may.
bool is_martian_source(const Ipv6Address& address, IpProtocol next_header) noexcept;
// Destinations that may not be forwarded to; multicast is among them, because weir routes none.
constexpr bool is_martian_destination(Ipv4Address address) noexcept {
    const std::uint32_t first = address.bits.value() >> 24;
    return first == 0 || first == 127 || first >= 224;
}
bool is_martian_destination(const Ipv6Address& address) noexcept;

// RFC 791 3.1, RFC 1812 5.2.4.1: true if every option is whole and none is source routing. `options` is all
// that stands between the fixed header and the payload.
[[nodiscard]] bool are_ipv4_options_acceptable(std::span<const std::uint8_t> options) noexcept;

// kNotDropped, and then `ip_length` is the packet's length by its own header (<= packet.length; what lies
// behind is link padding). `checksum_is_good`: the device has verified it.
[[nodiscard]] inline DropReason check_ip_header(const PacketBytes& packet, bool checksum_is_good, V4,
                                                std::uint16_t& ip_length) noexcept {
    if (packet.length < sizeof(Ipv4Header)) return DropReason::ip_truncated;
    if (packet.contiguous < sizeof(Ipv4Header)) return DropReason::segmented;
    const auto& header = packet.at<Ipv4Header>(0);
    if (header.version_ihl >> 4 != 4) return DropReason::ip_version;
    const std::uint32_t header_length = (header.version_ihl & 15u) * 4u;
    ip_length = header.total_length.value();
    if (header_length < sizeof(Ipv4Header) || ip_length < header_length) return DropReason::ip_header_length;
    if (ip_length > packet.length) return DropReason::ip_truncated;
    if (header_length > packet.contiguous) return DropReason::segmented;
    if (!checksum_is_good && !ipv4_checksum_ok(&header)) return DropReason::ip_checksum;
    if (header_length > sizeof(Ipv4Header) &&
        !are_ipv4_options_acceptable({packet.data + sizeof(Ipv4Header), header_length - sizeof(Ipv4Header)}))
        return DropReason::ip_options;
    if (is_martian_source(header.source) || header.source == header.destination)
        return DropReason::ip_martian_source;
    if (header.ttl == 0) return DropReason::ttl_expired;
    return kNotDropped;
}

[[nodiscard]] inline DropReason check_ip_header(const PacketBytes& packet, bool /*no checksum*/, V6,
                                                std::uint16_t& ip_length) noexcept {
    if (packet.length < sizeof(Ipv6Header)) return DropReason::ip_truncated;
    if (packet.contiguous < sizeof(Ipv6Header)) return DropReason::segmented;
    const auto& header = packet.at<Ipv6Header>(0);
    if (header.version_class_label.value() >> 28 != 6) return DropReason::ip_version;
    const std::uint32_t total = sizeof(Ipv6Header) + header.payload_length.value();
    // Our lengths have 16 bits; a frame that carries more than 65,535 bytes does not exist (RFC 2675 aside).
    if (total > packet.length || total > 0xffff) return DropReason::ip_truncated;
    ip_length = static_cast<std::uint16_t>(total);
    if (is_martian_source(header.source, static_cast<IpProtocol>(header.next_header)) ||
        header.source == header.destination)
        return DropReason::ip_martian_source;
    if (header.hop_limit == 0) return DropReason::ttl_expired;
    return kNotDropped;
}

// Preconditions for all below: check_ip_header passed, and packet.length is the ip_length it gave.

[[nodiscard]] inline DropReason find_l4(const PacketBytes& packet, V4, L4Location& l4) noexcept {
    const auto& header = packet.at<Ipv4Header>(0);
    l4.protocol = static_cast<IpProtocol>(header.protocol);
    l4.offset = static_cast<std::uint16_t>((header.version_ihl & 15u) * 4u);
    l4.fragment = (header.fragment.value() & (Ipv4Header::kMoreFragments | Ipv4Header::kOffsetMask)) != 0;
    return kNotDropped;
}

// At most 8 extension headers; hop-by-hop only as the first (RFC 8200 4.1); a routing header only if it is
// used up and not of type 0 (RFC 5095). An atomic fragment (offset 0, no more) is a whole packet (RFC 6946).
[[nodiscard]] DropReason walk_extensions(const PacketBytes& packet, L4Location& l4) noexcept;

[[nodiscard]] inline DropReason find_l4(const PacketBytes& packet, V6, L4Location& l4) noexcept {
    l4.protocol = static_cast<IpProtocol>(packet.at<Ipv6Header>(0).next_header);
    l4.offset = sizeof(Ipv6Header);
    l4.fragment = false;
    if (l4.protocol == IpProtocol::tcp || l4.protocol == IpProtocol::udp) [[likely]]
        return kNotDropped;
    return walk_extensions(packet, l4);
}

// True if a whole TCP or UDP header with a possible length field lies at l4 (RFC 9293 3.1, RFC 768). L4
// checksums are the end points' business: weir leaves wrong ones wrong.
[[nodiscard]] inline DropReason check_l4(const PacketBytes& packet, const L4Location& l4) noexcept {
    const std::uint32_t l4_length = packet.length - l4.offset;
    if (l4.protocol == IpProtocol::tcp) {
        if (l4_length < sizeof(TcpHeader)) return DropReason::l4_truncated;
        if (packet.contiguous < l4.offset + sizeof(TcpHeader)) return DropReason::segmented;
        const std::uint32_t header_length = (packet.at<TcpHeader>(l4.offset).data_offset >> 4) * 4u;
        if (header_length < sizeof(TcpHeader) || header_length > l4_length) return DropReason::l4_truncated;
        return kNotDropped;
    }
    if (l4_length < sizeof(UdpHeader)) return DropReason::l4_truncated;
    if (packet.contiguous < l4.offset + sizeof(UdpHeader)) return DropReason::segmented;
    const std::uint32_t udp_length = packet.at<UdpHeader>(l4.offset).length.value();
    if (udp_length < sizeof(UdpHeader) || udp_length > l4_length) return DropReason::l4_truncated;
    return kNotDropped;
}

// Preconditions: check_l4 passed. `flags` are TCP's, 0 for UDP.
template <class F>
[[nodiscard]] inline typename F::Key flow_key_of(const PacketBytes& packet, const L4Location& l4,
                                                 std::uint8_t& flags) noexcept {
    const auto& header = packet.at<typename F::Header>(0);
    const auto& ports = packet.at<UdpHeader>(l4.offset);  // TCP's ports stand at the same place
    flags = l4.protocol == IpProtocol::tcp ? packet.at<TcpHeader>(l4.offset).flags : std::uint8_t{0};
    return {.source = header.source,
            .destination = header.destination,
            .source_port = ports.source,
            .destination_port = ports.destination,
            .protocol = l4.protocol,
            .zero = {}};
}

}  // namespace weir
