// parse: Ethernet and IP header of every packet.
//
// Exits: burst.v4 and burst.v6 (a good IP header, for one of our MACs), burst.local (ARP, and IPv6 to a
// multicast MAC, which can only be neighbour discovery), or a drop.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/packet.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

namespace detail {

// A VLAN tag that the device took off the frame (net_af_packet does) counts like one in the frame.
inline bool has_stripped_tag(const rte_mbuf* packet) noexcept {
    return (packet->ol_flags & (RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED)) != 0;
}

template <class Family>
DropReason parse_ip(Burst& burst, std::uint32_t i, IndexList& list) noexcept {
    rte_mbuf* packet = burst.packet[i];
    const auto checksum = packet->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    const DropReason reason = check_ip_header(l3_bytes(packet), checksum == RTE_MBUF_F_RX_IP_CKSUM_GOOD,
                                              Family{}, burst.ip_length[i]);
    if (reason == kNotDropped) list.push(i);
    return reason;
}

inline DropReason parse_frame(Burst& burst, std::uint32_t i, const PortRecord& port) noexcept {
    rte_mbuf* packet = burst.packet[i];
    if (packet->pkt_len < sizeof(EthernetHeader)) return DropReason::runt_frame;
    if (packet->data_len < sizeof(EthernetHeader)) return DropReason::segmented;
    const auto& ethernet = header_at<EthernetHeader>(frame_start(packet));
    if (ethernet.source.is_multicast() || ethernet.source.is_zero()) return DropReason::bad_source_mac;
    if (has_stripped_tag(packet)) return DropReason::vlan_tag;

    const bool multicast = ethernet.destination.is_multicast();
    const bool ours = ethernet.destination == port.mac || (port.any_destination_mac && !multicast);
    switch (static_cast<EtherType>(ethernet.type.value())) {
        case EtherType::ipv4:
            return ours ? parse_ip<V4>(burst, i, burst.v4) : DropReason::not_our_mac;
        case EtherType::ipv6:
            if (multicast) return parse_ip<V6>(burst, i, burst.local);
            return ours ? parse_ip<V6>(burst, i, burst.v6) : DropReason::not_our_mac;
        case EtherType::arp:
            if (!ours && !multicast) return DropReason::not_our_mac;
            burst.local.push(i);
            return kNotDropped;
        case EtherType::vlan:
        case EtherType::qinq:
            return DropReason::vlan_tag;
    }
    return DropReason::unknown_ethertype;
}

}  // namespace detail

inline void parse(Burst& burst, const PortRecord& port) noexcept {
    for (std::uint32_t i = 0; i < burst.size; ++i) {
        burst.service[i] = kNoService;
        const DropReason reason = detail::parse_frame(burst, i, port);
        if (reason != kNotDropped) [[unlikely]]
            burst.drop(i, reason);
    }
}

}  // namespace weir
