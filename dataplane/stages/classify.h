// classify: the destination of an IP packet -> service, and the flow's key and hash.
//
// Exits: burst.flows (TCP or UDP of a service; its bucket of the flow table is known), burst.replies (TCP or
// UDP to a SNAT port, mode nat, or to nobody here, mode dnat), burst.local (ICMP for one of weir's
// addresses), burst.for_host (on a port with a host interface: its own addresses, and groups), or a drop.
#pragma once

#include <algorithm>

#include "dataplane/burst.h"
#include "dataplane/packet.h"
#include "dataplane/stages/for_host.h"
#include "dataplane/state/flow_table.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

// What classify works with, for one burst.
struct ClassifyContext {
    const ForwardingSnapshot& world;
    const HashKey& flow_hash_key;
    const FlowTable& flows;
};

namespace detail {

// Precondition: check_l4 passed.
template <class F>
[[gnu::always_inline]] inline void begin_flow(Burst& burst, std::uint32_t i, const PacketBytes& packet,
                                              const L4Location& l4, ServiceId service, const HashKey& key,
                                              const FlowTable& flows) noexcept {
    const auto blocks = flow_blocks_of(packet, l4, F{});
    const std::uint64_t hash = blocks.hash(key);
    burst.bucket[i] = flows.bucket_of(hash);
    burst.hash[i] = hash;
    burst.l4_offset[i] = l4.offset;
    burst.family[i] = F::kFamily;
    burst.service[i] = service;
    burst.event[i] = l4.protocol == IpProtocol::tcp
                         ? kFlowEventOfTcpFlags[packet.at<TcpHeader>(l4.offset).flags]
                         : FlowEvent::datagram;
    burst.flows.push(i);
}

// Not a VIP: an echo request to weir's own address is answered, the rest is not weir's to forward.
template <class F>
DropReason judge_not_vip(const Burst& burst, const ForwardingSnapshot& world, const L4Location& l4,
                         const typename F::Address& destination) noexcept {
    if (is_martian_destination(destination)) return DropReason::ip_martian_destination;
    if (l4.protocol != F::kIcmp || !is_own_address<F>(world.ports[index(burst.port)], destination))
        return DropReason::not_vip;
    return l4.fragment ? DropReason::fragment : kNotDropped;
}

template <class F>
bool has_martian_source(const PacketBytes& packet) noexcept {
    const auto& ip = packet.at<typename F::Header>(0);
    if constexpr (F::kFamily == Family::v4)
        return is_martian_source(ip.source);
    else
        return is_martian_source(ip.source, static_cast<IpProtocol>(ip.next_header));
}

// Neither weir's nor a group's.
template <class F>
bool is_foreign(const typename F::Address& destination, const ForwardingSnapshot& world,
                const PortRecord& port) noexcept {
    return !is_group(destination) && !is_own_address<F>(port, destination) &&
           world.services.find_vip(destination) == ServiceTable::kNotVip;
}

// A backend's reply, or what pretends to be one: a packet to a SNAT address and a port of its range or, in
// mode dnat, to a client. Precondition: check_l4 passed.
template <class F>
[[gnu::noinline]] bool take_reply(Burst& burst, std::uint32_t i, const PacketBytes& packet,
                                  const L4Location& l4, const ForwardingSnapshot& world) noexcept {
    const PortRecord& port = world.ports[index(burst.port)];
    const auto& address = packet.at<typename F::Header>(0).destination;
    const IpAddress destination{address};
    const bool ours =
        std::ranges::any_of(port.snat, [&](const SnatAddress& snat) { return snat.address == destination; });
    const auto& ports = F::kFamily == Family::v4 ? port.snat_ports_v4 : port.snat_ports_v6;
    if (ours ? !ports->range().contains(packet.at<UdpHeader>(l4.offset).destination.value())
             : !port.takes_foreign || !is_foreign<F>(address, world, port))
        return false;
    burst.family[i] = F::kFamily;
    burst.event[i] = l4.protocol == IpProtocol::tcp
                         ? kFlowEventOfTcpFlags[packet.at<TcpHeader>(l4.offset).flags]
                         : FlowEvent::datagram;
    burst.replies.push(i);
    return true;
}

// Where a packet that no service takes goes on a port with a host interface. False: not to the kernel.
template <class F>
bool leave_to_host(Burst& burst, std::uint32_t i, const PacketBytes& packet, const L4Location& l4,
                   const ForwardingSnapshot& world) noexcept {
    const PortRecord& port = world.ports[index(burst.port)];
    if (!port.has_host) return false;
    const auto& destination = packet.at<typename F::Header>(0).destination;
    if (is_group(destination)) {
        // A solicitation of a VIP may come in a unicast frame: answer looks.
        const bool may_solicit = F::kFamily == Family::v6 && l4.protocol == IpProtocol::icmpv6;
        (may_solicit ? burst.local : burst.for_host).push(i);
        return true;
    }
    if (!is_own_address<F>(port, destination)) return false;
    burst.for_host.push(i);
    return true;
}

// The service of a TCP or UDP packet; none for what weir may answer itself.
template <class F>
DropReason judge(const Burst& burst, const PacketBytes& packet, const L4Location& l4,
                 const ClassifyContext& context, ServiceId& service) noexcept {
    const auto& destination = packet.at<typename F::Header>(0).destination;
    const std::uint32_t vip = context.world.services.find_vip(destination);
    if (vip == ServiceTable::kNotVip) return judge_not_vip<F>(burst, context.world, l4, destination);
    if (context.world.ports[index(burst.port)].has_host && has_martian_source<F>(packet))
        return DropReason::ip_martian_source;  // parse lets it pass to the host
    if (l4.fragment) return DropReason::fragment;
    if (l4.protocol == F::kIcmp) return kNotDropped;
    if (!is_tcp_or_udp(l4.protocol)) return DropReason::unknown_protocol;
    if (const DropReason reason = check_l4(packet, l4); reason != kNotDropped) return reason;
    const std::uint16_t port = packet.at<UdpHeader>(l4.offset).destination.value();
    service = context.world.services.find_service(vip, l4.protocol, port);
    return service == kNoService ? DropReason::no_service : kNotDropped;
}

}  // namespace detail

template <class F>
void classify(Burst& burst, std::uint32_t i, const ClassifyContext& context) noexcept {
    PacketBytes packet = l3_bytes(burst.packet[i]);
    packet.length = burst.ip_length[i];
    L4Location l4;
    DropReason reason = find_l4(packet, F{}, l4);
    burst.l4_offset[i] = l4.offset;
    ServiceId service = kNoService;
    bool is_the_hosts = false;
    if (reason == kNotDropped) {
        const bool may_be_reply = context.world.ports[index(burst.port)].takes_replies() && !l4.fragment &&
                                  is_tcp_or_udp(l4.protocol) && check_l4(packet, l4) == kNotDropped;
        if (may_be_reply && detail::take_reply<F>(burst, i, packet, l4, context.world)) return;
        reason = detail::judge<F>(burst, packet, l4, context, service);
        is_the_hosts = service == kNoService && reason != DropReason::ip_martian_source &&
                       detail::leave_to_host<F>(burst, i, packet, l4, context.world);
    }
    if (is_the_hosts) return;
    if (reason != kNotDropped)
        burst.drop(i, reason);
    else if (service == kNoService)
        burst.local.push(i);
    else
        detail::begin_flow<F>(burst, i, packet, l4, service, context.flow_hash_key, context.flows);
}

}  // namespace weir
