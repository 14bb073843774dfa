// classify: the destination of every IP packet -> service, and the flow's key and hash.
//
// Exits: burst.flows_v4 and burst.flows_v6 (TCP or UDP of a service; the flow table's bucket is being
// prefetched), burst.local (ICMP for one of weir's addresses), or a drop.
#pragma once

#include <algorithm>

#include "dataplane/burst.h"
#include "dataplane/packet.h"
#include "dataplane/state/flow_table.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

namespace detail {

// One of the port's own addresses, which weir answers for while there is no host interface.
template <class Family>
bool is_own_address(const PortRecord& port, const typename Family::Address& address) noexcept {
    return std::find(port.addresses.begin(), port.addresses.end(), IpAddress(address)) !=
           port.addresses.end();
}

// Not a VIP: an echo request to weir's own address is answered, the rest is not weir's to forward.
template <class Family>
DropReason classify_other(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                          const L4Location& l4, const typename Family::Address& destination) noexcept {
    if (is_martian_destination(destination)) return DropReason::ip_martian_destination;
    if (l4.protocol != Family::kIcmp || !is_own_address<Family>(world.ports[index(burst.port)], destination))
        return DropReason::not_vip;
    if (l4.fragment) return DropReason::fragment;
    burst.local.push(i);
    return kNotDropped;
}

template <class Family>
DropReason classify_packet(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                           const HashKey& flow_hash_key) noexcept {
    PacketBytes packet = l3_bytes(burst.packet[i]);
    packet.length = burst.ip_length[i];
    packet.contiguous = std::min(packet.contiguous, packet.length);
    const auto& destination = packet.at<typename Family::Header>(0).destination;
    const std::uint32_t vip = world.services.find_vip(destination);

    L4Location l4;
    if (const DropReason reason = find_l4(packet, Family{}, l4); reason != kNotDropped) return reason;
    burst.l4_offset[i] = l4.offset;
    if (vip == ServiceTable::kNotVip) [[unlikely]]
        return classify_other<Family>(burst, i, world, l4, destination);
    if (l4.fragment) return DropReason::fragment;
    if (l4.protocol != IpProtocol::tcp && l4.protocol != IpProtocol::udp) [[unlikely]] {
        if (l4.protocol != Family::kIcmp) return DropReason::unknown_protocol;
        burst.local.push(i);
        return kNotDropped;
    }
    if (const DropReason reason = check_l4(packet, l4); reason != kNotDropped) return reason;

    auto& key = burst.key_of<Family>(i);
    key = flow_key_of<Family>(packet, l4, burst.tcp_flags[i]);
    burst.service[i] = world.services.find_service(vip, l4.protocol, key.destination_port.value());
    if (burst.service[i] == kNoService) return DropReason::no_service;
    burst.hash[i] = keyed_hash(flow_hash_key, key);
    return kNotDropped;
}

}  // namespace detail

template <class Family>
void classify(Burst& burst, const IndexList& packets, IndexList& flows, const ForwardingSnapshot& world,
              const HashKey& flow_hash_key, const FlowTable& table) noexcept {
    for (const std::uint32_t i : packets) {
        const DropReason reason = detail::classify_packet<Family>(burst, i, world, flow_hash_key);
        if (reason != kNotDropped) [[unlikely]] {
            burst.drop(i, reason);
        } else if (burst.service[i] != kNoService) [[likely]] {
            table.prefetch(burst.hash[i]);
            flows.push(i);
        }
    }
}

}  // namespace weir
