// rewrite of mode nat and dnat: addresses and ports of a packet, and every checksum that they are part of.
//
// Checksums change by what changes (RFC 1624): a wrong one stays wrong. A UDP checksum of 0 over IPv4 stays
// (RFC 768). TTL and hop limit stay: weir is no hop, as in every other mode.
//
// NAT64 (RFC 7915): the IP header is written anew. To IPv4: extension headers go (5.1), the flow label too;
// up to 1,260 bytes DF is clear and the packet has an identification, so that a path of a small MTU may
// fragment it, longer ones have DF set. To IPv6: IPv4 options go (4.1), the flow label is 0; a UDP checksum
// of 0, which IPv6 has not, is computed (4.5).
//
// The worker that holds the packet.
#pragma once

#include <cstdint>

#include "dataplane/burst.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/family.h"
#include "dataplane/packet.h"

namespace weir {

// What a packet is to say. Ports as on the wire.
template <class F>
struct NatTuple {
    typename F::Address source, destination;
    Be16 source_port, destination_port;
};

namespace detail {

inline void mend_l4(std::uint8_t* l4, IpProtocol protocol, bool may_have_none, ChecksumSum before,
                    ChecksumSum after) noexcept {
    if (protocol == IpProtocol::tcp) {
        auto& tcp = header_at<TcpHeader>(l4);
        tcp.checksum = updated_checksum(tcp.checksum, before, after);
        return;
    }
    auto& udp = header_at<UdpHeader>(l4);
    if (may_have_none && udp.checksum.raw() == 0) return;
    udp.checksum = updated_checksum(udp.checksum, before, after);
    if (udp.checksum.raw() == 0) udp.checksum = Be16(0xffff);
}

template <class Address>
ChecksumSum sum_of_addresses(const Address& source, const Address& destination) noexcept {
    return sum_of_bytes(&source, sizeof(source)) + sum_of_bytes(&destination, sizeof(destination));
}

// The ports, and the L4 checksum: `before` and `after` are the sums of the addresses.
template <class F>
void rewrite_l4(std::uint8_t* l4, IpProtocol protocol, bool may_have_none, const NatTuple<F>& tuple,
                ChecksumSum before, ChecksumSum after) noexcept {
    auto& ports = header_at<UdpHeader>(l4);
    before += ChecksumSum{ports.source.raw()} + ports.destination.raw();
    after += ChecksumSum{tuple.source_port.raw()} + tuple.destination_port.raw();
    ports.source = tuple.source_port;
    ports.destination = tuple.destination_port;
    mend_l4(l4, protocol, may_have_none, before, after);
}

// The sum of all that lies behind `at` in the frame, to its end. A segment that begins at an odd place has
// its bytes in the other halves of the words (RFC 1071 2(B)). DPDK 22.11's rte_raw_cksum_mbuf() loses a carry
// there.
inline ChecksumSum sum_of_rest(const rte_mbuf* frame, std::uint32_t at) noexcept {
    ChecksumSum sum = 0;
    bool is_odd = false;
    for (const rte_mbuf* segment = frame; segment != nullptr; segment = segment->next, at = 0) {
        const std::uint32_t length = segment->data_len - at;
        const std::uint16_t part =
            fold(sum_of_bytes(rte_pktmbuf_mtod_offset(segment, const std::uint8_t*, at), length));
        sum += is_odd ? __builtin_bswap16(part) : part;
        is_odd ^= (length & 1) != 0;
    }
    return sum;
}

// The checksum of a datagram that has none. Precondition: the frame ends with it, and its headers lie in the
// first segment.
inline void compute_udp_checksum(const rte_mbuf* packet, std::uint32_t l4_at, UdpHeader& udp,
                                 const Ipv6Address& source, const Ipv6Address& destination) noexcept {
    udp.checksum = checksum_of(pseudo_header_sum(source, destination, IpProtocol::udp, udp.length.value()) +
                               sum_of_rest(packet, l4_at));
    if (udp.checksum.raw() == 0) udp.checksum = Be16(0xffff);
}

// Puts an IP header in the place of the packet's, whose L4 header stays where it is. Returns the frame.
template <class Header>
std::uint8_t* replace_ip_header(Burst& burst, std::uint32_t i, const Header& ip, Family family,
                                EtherType type) noexcept {
    constexpr std::uint32_t kL2 = sizeof(EthernetHeader);
    rte_mbuf* packet = burst.packet[i];
    auto ethernet = header_at<EthernetHeader>(frame_start(packet));
    ethernet.type = Be16(static_cast<std::uint16_t>(type));
    const auto l4_length = static_cast<std::uint32_t>(burst.ip_length[i] - burst.l4_offset[i]);
    std::uint8_t* frame = replace_front(packet, kL2 + burst.l4_offset[i], kL2 + sizeof(ip), l4_length);
    header_at<EthernetHeader>(frame) = ethernet;
    header_at<Header>(frame + kL2) = ip;
    burst.l4_offset[i] = sizeof(ip);
    burst.ip_length[i] = static_cast<std::uint16_t>(sizeof(ip) + l4_length);
    burst.family[i] = family;
    return frame;
}

}  // namespace detail

template <class F>
void rewrite_nat(const Burst& burst, std::uint32_t i, const NatTuple<F>& tuple) noexcept {
    std::uint8_t* bytes = frame_start(burst.packet[i]) + sizeof(EthernetHeader);
    auto& ip = header_at<typename F::Header>(bytes);
    const ChecksumSum before = detail::sum_of_addresses(ip.source, ip.destination);
    const ChecksumSum after = detail::sum_of_addresses(tuple.source, tuple.destination);
    ip.source = tuple.source;
    ip.destination = tuple.destination;
    if constexpr (F::kFamily == Family::v4) ip.checksum = updated_checksum(ip.checksum, before, after);
    detail::rewrite_l4(bytes + burst.l4_offset[i], burst.protocol(i), F::kFamily == Family::v4, tuple, before,
                       after);
}

// An IPv6 packet to an IPv4 one. `identification` counts on where it is used.
inline void rewrite_6to4(Burst& burst, std::uint32_t i, const NatTuple<V4>& tuple,
                         std::uint16_t& identification) noexcept {
    constexpr std::uint32_t kMayBeFragmented = 1'260;  // RFC 7915 5.1: 1280 - 40 + 20
    const auto& old = l3_bytes(burst.packet[i]).at<Ipv6Header>(0);
    const ChecksumSum before = detail::sum_of_addresses(old.source, old.destination);
    const auto length =
        static_cast<std::uint32_t>(sizeof(Ipv4Header) + burst.ip_length[i] - burst.l4_offset[i]);
    Ipv4Header ip{};
    ip.version_ihl = Ipv4Header::kVersion4NoOptions;
    ip.tos = V6::tos(old);
    ip.total_length = Be16(static_cast<std::uint16_t>(length));
    if (length > kMayBeFragmented)
        ip.fragment = Be16(Ipv4Header::kDontFragment);
    else
        ip.identification = Be16(++identification);
    ip.ttl = old.hop_limit;
    ip.protocol = static_cast<std::uint8_t>(burst.protocol(i));
    ip.source = tuple.source;
    ip.destination = tuple.destination;
    ip.checksum = checksum_of(sum_of_bytes(&ip, sizeof(ip)));
    std::uint8_t* frame = detail::replace_ip_header(burst, i, ip, Family::v4, EtherType::ipv4);
    // A UDP checksum of 0 is an error over IPv6 (RFC 8200 8.1): it must not become "none", so it changes.
    detail::rewrite_l4(frame + sizeof(EthernetHeader) + sizeof(ip), burst.protocol(i), false, tuple, before,
                       detail::sum_of_addresses(tuple.source, tuple.destination));
}

// An IPv4 packet to an IPv6 one. Precondition: headroom for 20 bytes.
inline void rewrite_4to6(Burst& burst, std::uint32_t i, const NatTuple<V6>& tuple) noexcept {
    const auto& old = l3_bytes(burst.packet[i]).at<Ipv4Header>(0);
    const ChecksumSum before = detail::sum_of_addresses(old.source, old.destination);
    Ipv6Header ip{};
    ip.version_class_label = Be32(6u << 28 | std::uint32_t{old.tos} << 20);
    ip.payload_length = Be16(static_cast<std::uint16_t>(burst.ip_length[i] - burst.l4_offset[i]));
    ip.next_header = static_cast<std::uint8_t>(burst.protocol(i));
    ip.hop_limit = old.ttl;
    ip.source = tuple.source;
    ip.destination = tuple.destination;
    std::uint8_t* frame = detail::replace_ip_header(burst, i, ip, Family::v6, EtherType::ipv6);
    constexpr std::uint32_t kL4 = sizeof(EthernetHeader) + sizeof(ip);
    auto& udp = header_at<UdpHeader>(frame + kL4);
    const bool has_none = burst.protocol(i) == IpProtocol::udp && udp.checksum.raw() == 0;
    detail::rewrite_l4(frame + kL4, burst.protocol(i), true, tuple, before,
                       detail::sum_of_addresses(tuple.source, tuple.destination));
    if (has_none) [[unlikely]]
        detail::compute_udp_checksum(burst.packet[i], kL4, udp, tuple.source, tuple.destination);
}

}  // namespace weir
