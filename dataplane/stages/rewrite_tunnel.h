// modes ipip and gue: the IP packet, untouched, behind an outer header to the backend. All four pairs of
// families.
//
// Theory of operation. The backend's record holds the Ethernet and outer headers ready made. The loop copies
// them in front of the IP packet (the old Ethernet header and any link padding are gone) and fills in what is
// the packet's:
//   outer IPv4   TOS = inner's (DSCP RFC 2983, ECN RFC 6040), length, protocol 4 or 41 (RFC 2003, RFC 4213),
//   DF = inner's
//                (set for IPv6, which nobody may fragment under way), id: 0 with DF (RFC 6864 4.1), else the
//                inner id; the checksum is finished from the template's sum of the constant words
//   outer IPv6   class = inner's, length, next header, flow label from the 5-tuple (RFC 6438)
//   GUE          UDP source port from the 5-tuple, so that flows spread over RSS queues and ECMP paths; UDP
//   length;
//                checksum 0 over IPv4, computed over IPv6; protocol of what is inside
// TTL: the outer is fresh (64); the inner stays, weir is no hop here.
//
// The UDP checksum over IPv6 is not summed from the payload: a TCP or UDP segment with a valid checksum sums,
// with its pseudo header, to all ones, so the sum of the inner packet follows from the inner IP header alone
// ("local checksum offload"). An inner checksum that is wrong makes the outer one wrong too, and the backend
// drops the packet as it would have dropped the inner. Only where there is no inner checksum (UDP over IPv4
// with checksum 0, or bytes behind the UDP datagram) the payload is summed.
#pragma once

#include <cstring>
#include <type_traits>

#include "dataplane/burst.h"
#include "dataplane/net/aes_hash.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/family.h"
#include "dataplane/packet.h"
#include "dataplane/stages/flow_of.h"
#include "dataplane/stages/inner_sum.h"

namespace weir {

template <class OuterFamily>
struct Ipip {
    using Outer = OuterFamily;
    static constexpr bool kIsGue = false;
    static constexpr std::uint32_t kTunnelLength = sizeof(typename Outer::Header);
};

template <class OuterFamily>
struct Gue {
    using Outer = OuterFamily;
    static constexpr bool kIsGue = true;
    static constexpr std::uint32_t kTunnelLength =
        sizeof(typename Outer::Header) + sizeof(UdpHeader) + sizeof(GueHeader);
};

namespace detail {

// Both from the flow's hash under the cluster's key, so that run and replay, and every appliance of a
// cluster, agree. The bits are not those that choose the Maglev slot (the low 32).
constexpr std::uint16_t entropy_port(std::uint64_t flow_entropy) noexcept {
    return static_cast<std::uint16_t>(0xc000u | (flow_entropy >> 50));  // 49152-65535
}
constexpr std::uint32_t entropy_label(std::uint64_t flow_entropy) noexcept {
    return static_cast<std::uint32_t>(flow_entropy >> 32) & 0xfffffu;
}

// Id, flags and offset of the outer IPv4 header as one word, the way it lies on the wire.
inline constexpr std::uint32_t kDontFragmentWord = std::uint32_t{Be16(Ipv4Header::kDontFragment).raw()} << 16;
inline std::uint32_t outer_fragmentation(const Ipv4Header& inner) noexcept {
    const std::uint32_t word = load32(reinterpret_cast<const std::uint8_t*>(&inner.identification));
    return (word & kDontFragmentWord) != 0 ? kDontFragmentWord : word & 0xffff;
}
inline std::uint32_t outer_fragmentation(const Ipv6Header&) noexcept { return kDontFragmentWord; }

// What is the packet's in the first eight bytes goes in as one word, and into the sum as one (RFC 1071 2(C)).
template <class InnerHeader>
void finish_outer(Ipv4Header& outer, const InnerHeader& inner, std::uint8_t tos, std::uint8_t protocol,
                  std::uint32_t payload, std::uint32_t constant_sum, std::uint64_t /*entropy*/) noexcept {
    const Be16 total_length(static_cast<std::uint16_t>(sizeof(outer) + payload));
    const std::uint32_t tos_and_length = std::uint32_t{tos} << 8 | std::uint32_t{total_length.raw()} << 16;
    const std::uint32_t fragmentation = outer_fragmentation(inner);
    const std::uint64_t first =
        tos_and_length | Ipv4Header::kVersion4NoOptions | std::uint64_t{fragmentation} << 32;
    std::memcpy(&outer, &first, sizeof(first));
    outer.protocol = protocol;
    outer.checksum =
        checksum_of(ChecksumSum{constant_sum} + tos_and_length + fragmentation + Be16(protocol).raw());
}

template <class InnerHeader>
void finish_outer(Ipv6Header& outer, const InnerHeader&, std::uint8_t traffic_class, std::uint8_t next_header,
                  std::uint32_t payload, std::uint32_t /*constant_sum*/, std::uint64_t entropy) noexcept {
    outer.version_class_label = Be32(6u << 28 | std::uint32_t{traffic_class} << 20 | entropy_label(entropy));
    outer.payload_length = Be16(static_cast<std::uint16_t>(payload));
    outer.next_header = next_header;
}

// `tunnel` points at the UDP header.
template <class Outer, class Inner>
void finish_gue(std::uint8_t* tunnel, const Burst& burst, std::uint32_t i, std::uint64_t entropy) noexcept {
    auto& udp = header_at<UdpHeader>(tunnel);
    auto& gue = header_at<GueHeader>(tunnel + sizeof(UdpHeader));
    udp.source = Be16(entropy_port(entropy));
    udp.length = Be16(static_cast<std::uint16_t>(sizeof(udp) + sizeof(gue) + burst.ip_length[i]));
    gue.protocol = static_cast<std::uint8_t>(Inner::kEncapsulated);
    if constexpr (std::is_same_v<Outer, V6>) {
        // The length stands in the pseudo-header too. Summed from values: to load what has just been stored
        // in smaller pieces would wait for the stores.
        ChecksumSum sum = ChecksumSum{burst.backend[i]->outer_sum} + udp.source.raw() +
                          2u * udp.length.raw() + Be16(gue.protocol).raw();
        sum += inner_sum<Inner>(burst, i, sizeof(EthernetHeader) + Gue<Outer>::kTunnelLength);
        udp.checksum = checksum_of(sum);
        if (udp.checksum.raw() == 0) udp.checksum = Be16(0xffff);  // RFC 768: 0 would mean "none"
    }
}

}  // namespace detail

template <class Mode, class Inner>
void rewrite_tunnel(const Burst& burst, const IndexList& packets, const HashKey& selection_key) noexcept {
    using Outer = typename Mode::Outer;
    constexpr std::uint32_t kNewLength = sizeof(EthernetHeader) + Mode::kTunnelLength;
    constexpr std::uint32_t kBehindOuter = Mode::kTunnelLength - sizeof(typename Outer::Header);
    constexpr bool kNeedsEntropy = Mode::kIsGue || std::is_same_v<Outer, V6>;
    for (const std::uint32_t i : packets) {
        rte_mbuf* packet = burst.packet[i];
        const BackendRecord& backend = *burst.backend[i];
        const std::uint32_t length = burst.ip_length[i];
        std::uint8_t* frame = replace_front(packet, sizeof(EthernetHeader), kNewLength, length);
        std::memcpy(frame, backend.header.data(), kNewLength);
        auto& outer = header_at<typename Outer::Header>(frame + sizeof(EthernetHeader));
        const auto& inner = header_at<typename Inner::Header>(frame + kNewLength);
        const std::uint64_t entropy =
            kNeedsEntropy ? flow_of<Inner>(burst, i, frame + kNewLength).hash(selection_key) : 0;
        const IpProtocol inside = Mode::kIsGue ? IpProtocol::udp : Inner::kEncapsulated;
        detail::finish_outer(outer, inner, Inner::tos(inner), static_cast<std::uint8_t>(inside),
                             length + kBehindOuter, backend.outer_sum, entropy);
        if constexpr (Mode::kIsGue)
            detail::finish_gue<Outer, Inner>(frame + sizeof(EthernetHeader) + sizeof(outer), burst, i,
                                             entropy);
    }
}

}  // namespace weir
