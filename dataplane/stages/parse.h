// parse: Ethernet and IP header of a packet.
//
// Exits: an IPv4 or IPv6 packet with a good header, for one of our MACs (ip_length is set), a member of
// burst.local (ARP, and IPv6 to a multicast MAC, which can only be neighbour discovery; on a port with a host
// interface IPv4 to one, too), a member of burst.for_host (other EtherTypes there), or a drop.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/packet.h"
#include "dataplane/stages/for_host.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

enum class Parsed : std::uint8_t { ipv4, ipv6, done };

namespace detail {

// A VLAN tag that the device took off the frame (net_af_packet does) counts like one in the frame.
inline bool has_stripped_tag(const rte_mbuf* packet) noexcept {
    return (packet->ol_flags & (RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED)) != 0;
}

// The device has verified the IPv4 header's checksum.
inline bool has_good_checksum(const rte_mbuf* packet) noexcept {
    return (packet->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD;
}

template <class F>
Parsed parse_ip(Burst& burst, std::uint32_t i, const PortRecord& port) noexcept {
    rte_mbuf* packet = burst.packet[i];
    std::uint16_t ip_length = 0;
    const PacketBytes bytes = l3_bytes(packet);
    const DropReason reason = check_ip_header(bytes, has_good_checksum(packet), F{}, ip_length);
    const auto is_the_hosts = [&] {
        return reason == DropReason::ip_martian_source && port.has_host &&
               stays_on_link(bytes.at<typename F::Header>(0));
    };
    if (reason != kNotDropped && !is_the_hosts()) [[unlikely]] {
        burst.drop(i, reason);
        return Parsed::done;
    }
    burst.ip_length[i] = ip_length;
    return F::kFamily == Family::v4 ? Parsed::ipv4 : Parsed::ipv6;
}

// ARP, multicast, and what is not for this port.
inline Parsed parse_other_frame(Burst& burst, std::uint32_t i, const PortRecord& port, bool ours) noexcept {
    const auto& ethernet = header_at<EthernetHeader>(frame_start(burst.packet[i]));
    const bool multicast = ethernet.destination.is_multicast();
    DropReason reason = DropReason::unknown_ethertype;
    switch (static_cast<EtherType>(ethernet.type.value())) {
        case EtherType::ipv4:
            reason = multicast && port.has_host ? kNotDropped : DropReason::not_our_mac;
            if (reason == kNotDropped && parse_ip<V4>(burst, i, port) == Parsed::done) return Parsed::done;
            break;
        case EtherType::ipv6:
            reason = multicast ? kNotDropped : DropReason::not_our_mac;
            if (multicast && parse_ip<V6>(burst, i, port) == Parsed::done) return Parsed::done;
            break;
        case EtherType::arp:
            reason = ours || multicast ? kNotDropped : DropReason::not_our_mac;
            break;
        case EtherType::vlan:
        case EtherType::qinq:
            reason = DropReason::vlan_tag;
            break;
        default:
            if (!port.has_host || !(ours || multicast)) break;
            burst.for_host.push(i);
            return Parsed::done;
    }
    if (reason == kNotDropped)
        burst.local.push(i);
    else
        burst.drop(i, reason);
    return Parsed::done;
}

}  // namespace detail

inline Parsed parse(Burst& burst, std::uint32_t i, const PortRecord& port) noexcept {
    rte_mbuf* packet = burst.packet[i];
    const auto reject = [&](DropReason reason) {
        burst.drop(i, reason);
        return Parsed::done;
    };
    if (packet->data_len < sizeof(EthernetHeader)) [[unlikely]]
        return reject(packet->pkt_len < sizeof(EthernetHeader) ? DropReason::runt_frame
                                                               : DropReason::segmented);
    const auto& ethernet = header_at<EthernetHeader>(frame_start(packet));
    if (ethernet.source.is_multicast() || ethernet.source.is_zero()) [[unlikely]]
        return reject(DropReason::bad_source_mac);
    if (detail::has_stripped_tag(packet)) [[unlikely]]
        return reject(DropReason::vlan_tag);

    const bool ours = ethernet.destination == port.mac ||
                      (port.any_destination_mac && !ethernet.destination.is_multicast());
    if (ours && ethernet.type == Be16(static_cast<std::uint16_t>(EtherType::ipv4))) [[likely]]
        return detail::parse_ip<V4>(burst, i, port);
    if (ours && ethernet.type == Be16(static_cast<std::uint16_t>(EtherType::ipv6))) [[likely]]
        return detail::parse_ip<V6>(burst, i, port);
    return detail::parse_other_frame(burst, i, port, ours);
}

}  // namespace weir
