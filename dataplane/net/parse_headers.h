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

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/net/checksum.h"
#include "dataplane/net/drop_reason.h"
#include "dataplane/net/family.h"
#include "dataplane/net/flow_blocks.h"
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

constexpr bool is_tcp_or_udp(IpProtocol protocol) noexcept {
    return protocol == IpProtocol::tcp || protocol == IpProtocol::udp;
}

struct L4Location {
    IpProtocol protocol;
    std::uint16_t offset;  // from the IP header
    bool fragment;         // a real fragment: ports may be missing, nothing but the address is known
};

// RFC 1812 5.3.7, RFC 6890: sources that no packet on a wire may have.
constexpr bool is_martian_source(Ipv4Address address) noexcept {
    const auto first = static_cast<std::uint8_t>(address.bits.value() >> 24);
    return static_cast<std::uint8_t>(first - 1) >= 223 || first == 127;  // 0, 224 to 255, 127
}
// ICMPv6 may come from a link-local address or, while it looks for duplicates, from "::" (RFC 4861); nothing
// else may.
[[nodiscard]] bool is_martian_source_outside_unicast(const Ipv6Address& address,
                                                     IpProtocol next_header) noexcept;
[[nodiscard]] inline bool is_martian_source(const Ipv6Address& address, IpProtocol next_header) noexcept {
    const bool global_or_unique_local = address.bytes[0] >= 0x20 && address.bytes[0] < 0xfe;
    return !global_or_unique_local && is_martian_source_outside_unicast(address, next_header);
}
// Destinations that may not be forwarded to; multicast is among them, because weir routes none.
constexpr bool is_martian_destination(Ipv4Address address) noexcept {
    const std::uint32_t first = address.bits.value() >> 24;
    return first == 0 || first == 127 || first >= 224;
}
[[nodiscard]] bool is_martian_destination(const Ipv6Address& address) noexcept;

// RFC 791 3.1, RFC 1812 5.2.4.1: true if every option is whole and none is source routing. `options` is all
// that stands between the fixed header and the payload.
[[nodiscard]] bool are_ipv4_options_acceptable(std::span<const std::uint8_t> options) noexcept;

namespace detail {

// Behind the version and the header's length, which is a constant for nearly every packet.
[[gnu::always_inline]] inline DropReason check_ipv4(const PacketBytes& packet, std::uint32_t header_length,
                                                    bool checksum_is_good,
                                                    std::uint16_t& ip_length) noexcept {
    const auto& header = packet.at<Ipv4Header>(0);
    ip_length = header.total_length.value();
    if (ip_length < header_length) return DropReason::ip_header_length;
    if (ip_length > packet.length) return DropReason::ip_truncated;
    if (header_length > packet.contiguous) return DropReason::segmented;
    if (!checksum_is_good && !ipv4_checksum_ok(&header, header_length)) return DropReason::ip_checksum;
    if (header_length > sizeof(Ipv4Header) &&
        !are_ipv4_options_acceptable({packet.data + sizeof(Ipv4Header), header_length - sizeof(Ipv4Header)}))
        return DropReason::ip_options;
    if (is_martian_source(header.source) || header.source == header.destination)
        return DropReason::ip_martian_source;
    if (header.ttl == 0) return DropReason::ttl_expired;
    return kNotDropped;
}
// Of another version, or with options.
[[nodiscard]] DropReason check_unusual_ipv4(const PacketBytes& packet, bool checksum_is_good,
                                            std::uint16_t& ip_length) noexcept;

}  // namespace detail

// kNotDropped, and then `ip_length` is the packet's length by its own header (<= packet.length; what lies
// behind is link padding). `checksum_is_good`: the device has verified it.
[[nodiscard]] inline DropReason check_ip_header(const PacketBytes& packet, bool checksum_is_good, V4,
                                                std::uint16_t& ip_length) noexcept {
    if (packet.contiguous < sizeof(Ipv4Header)) [[unlikely]]
        return packet.length < sizeof(Ipv4Header) ? DropReason::ip_truncated : DropReason::segmented;
    if (packet.at<Ipv4Header>(0).version_ihl != Ipv4Header::kVersion4NoOptions) [[unlikely]]
        return detail::check_unusual_ipv4(packet, checksum_is_good, ip_length);
    return detail::check_ipv4(packet, sizeof(Ipv4Header), checksum_is_good, ip_length);
}

[[nodiscard]] inline DropReason check_ip_header(const PacketBytes& packet, bool /*no checksum*/, V6,
                                                std::uint16_t& ip_length) noexcept {
    if (packet.contiguous < sizeof(Ipv6Header)) [[unlikely]]
        return packet.length < sizeof(Ipv6Header) ? DropReason::ip_truncated : DropReason::segmented;
    const auto& header = packet.at<Ipv6Header>(0);
    if (*packet.data >> 4 != 6) return DropReason::ip_version;
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
    if (l4.protocol == IpProtocol::tcp) {
        if (packet.length < l4.offset + sizeof(TcpHeader)) return DropReason::l4_truncated;
        if (packet.contiguous < l4.offset + sizeof(TcpHeader)) return DropReason::segmented;
        const std::uint32_t header_length = (packet.at<TcpHeader>(l4.offset).data_offset >> 4) * 4u;
        if (header_length < sizeof(TcpHeader) || l4.offset + header_length > packet.length)
            return DropReason::l4_truncated;
        return kNotDropped;
    }
    if (packet.length < l4.offset + sizeof(UdpHeader)) return DropReason::l4_truncated;
    if (packet.contiguous < l4.offset + sizeof(UdpHeader)) return DropReason::segmented;
    const std::uint32_t udp_length = packet.at<UdpHeader>(l4.offset).length.value();
    if (udp_length < sizeof(UdpHeader) || l4.offset + udp_length > packet.length)
        return DropReason::l4_truncated;
    return kNotDropped;
}

// Precondition: check_l4 passed. In whole words, straight from the packet: a key that is written field by
// field and then hashed as a block waits for the store buffer, which costs more than the hash.
[[nodiscard]] inline FlowBlocksV4 flow_blocks_of(const PacketBytes& packet, const L4Location& l4,
                                                 V4) noexcept {
    return FlowBlocksV4::of(packet.data + offsetof(Ipv4Header, source), packet.data + l4.offset, l4.protocol);
}
[[nodiscard]] inline FlowBlocksV6 flow_blocks_of(const PacketBytes& packet, const L4Location& l4,
                                                 V6) noexcept {
    return FlowBlocksV6::of(packet.data + offsetof(Ipv6Header, source), packet.data + l4.offset, l4.protocol);
}

}  // namespace weir
