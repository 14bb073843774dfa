#include "dataplane/stages/answer.h"

#include "dataplane/net/checksum.h"
#include "dataplane/packet.h"
#include "dataplane/stages/classify.h"
#include "dataplane/stages/inner_sum.h"
#include "dataplane/stages/own_header.h"

namespace weir {

namespace {

constexpr std::uint32_t kL2 = sizeof(EthernetHeader);
constexpr std::uint8_t kNdHopLimit = 255;  // RFC 4861: proves that the packet has crossed no router

void send_back(std::uint8_t* frame, const MacAddress& to, const PortRecord& port) noexcept {
    auto& ethernet = header_at<EthernetHeader>(frame);
    ethernet.destination = to;
    ethernet.source = port.mac;
}

bool is_well_formed(const ArpHeader& arp) noexcept {
    return arp.hardware_type == Be16(1) &&
           arp.protocol_type == Be16(static_cast<std::uint16_t>(EtherType::ipv4)) &&
           arp.hardware_length == sizeof(MacAddress) && arp.protocol_length == sizeof(Ipv4Address) &&
           !arp.sender_mac.is_multicast() && !arp.sender_mac.is_zero();
}

// RFC 826
DropReason answer_arp(rte_mbuf* packet, const ForwardingSnapshot& world, PortId port) noexcept {
    if (packet->pkt_len < kL2 + sizeof(ArpHeader)) return DropReason::arp_malformed;
    if (packet->data_len < kL2 + sizeof(ArpHeader)) return DropReason::segmented;
    std::uint8_t* frame = frame_start(packet);
    auto& arp = header_at<ArpHeader>(frame + kL2);
    if (!is_well_formed(arp)) return DropReason::arp_malformed;
    const bool gratuitous = arp.sender == arp.target;
    if (arp.operation != Be16(1) || gratuitous || !is_answered_for<V4>(world, port, arp.target))
        return DropReason::arp_not_vip;
    const PortRecord& record = world.ports[index(port)];
    if (packet->nb_segs > 1 && !record.can_send_chains) return DropReason::segmented;
    const Ipv4Address wanted = arp.target;
    send_back(frame, arp.sender_mac, record);
    arp.operation = Be16(2);
    arp.target_mac = arp.sender_mac;
    arp.target = arp.sender;
    arp.sender_mac = record.mac;
    arp.sender = wanted;
    return kNotDropped;
}

// RFC 4861 7.1.1: what makes a solicitation valid. `length` is that of the ICMPv6 message.
bool is_valid_solicitation(const Ipv6Header& ip, const std::uint8_t* icmp, std::uint32_t length) noexcept {
    if (length < sizeof(NeighborMessage) || ip.hop_limit != kNdHopLimit) return false;
    const auto& message = *reinterpret_cast<const NeighborMessage*>(icmp);
    if (message.icmp.code != 0 || message.target.bytes[0] == 0xff) return false;
    const bool looks_for_duplicates = ip.source == Ipv6Address{};
    if (looks_for_duplicates && ip.destination.bytes[0] != 0xff) return false;
    for (std::uint32_t at = sizeof(NeighborMessage); at < length;) {
        if (at + sizeof(LinkLayerOption) > length) return false;
        const auto& option = *reinterpret_cast<const LinkLayerOption*>(icmp + at);
        constexpr std::uint8_t kSourceLinkLayer = 1;
        if (option.length == 0 || (looks_for_duplicates && option.type == kSourceLinkLayer)) return false;
        at += option.length * 8u;
        if (at > length) return false;
    }
    return fold(sum_of_bytes(icmp, length) +
                pseudo_header_sum(ip.source, ip.destination, IpProtocol::icmpv6, length)) == 0xffff;
}

// Makes the advertisement (RFC 4861 4.4) of the solicitation in `packet`, in place.
void write_advertisement(rte_mbuf* packet, const PortRecord& port) noexcept {
    constexpr std::uint32_t kSolicited = 0x4000'0000, kOverride = 0x2000'0000;
    constexpr MacAddress kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};
    constexpr Ipv6Address kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    constexpr std::uint16_t kLength = sizeof(NeighborMessage) + sizeof(LinkLayerOption);

    std::uint8_t* frame = frame_start(packet);
    auto& ip = header_at<Ipv6Header>(frame + kL2);
    auto& message = header_at<NeighborMessage>(frame + kL2 + sizeof(ip));
    const bool looks_for_duplicates = ip.source == Ipv6Address{};
    send_back(frame, looks_for_duplicates ? kAllNodesMac : header_at<EthernetHeader>(frame).source, port);
    ip.destination = looks_for_duplicates ? kAllNodes : ip.source;
    ip.source = message.target;
    ip.version_class_label = Be32(6u << 28);
    ip.payload_length = Be16(kLength);
    ip.hop_limit = kNdHopLimit;
    message.icmp = {.type = IcmpHeader::kNeighborAdvertisement,
                    .code = 0,
                    .checksum = Be16(0),
                    .rest = Be32(looks_for_duplicates ? kOverride : kSolicited | kOverride)};
    constexpr std::uint8_t kTargetLinkLayer = 2;
    header_at<LinkLayerOption>(frame + kL2 + sizeof(ip) + sizeof(message)) = {kTargetLinkLayer, 1, port.mac};
    message.icmp.checksum =
        checksum_of(sum_of_bytes(&message, kLength) +
                    pseudo_header_sum(ip.source, ip.destination, IpProtocol::icmpv6, kLength));
}

// `packet` holds a whole IPv6 header, and `ip_length` bytes of it are the packet.
DropReason answer_neighbor(rte_mbuf* packet, std::uint16_t ip_length, const ForwardingSnapshot& world,
                           PortId port) noexcept {
    if (packet->nb_segs > 1) return DropReason::segmented;
    std::uint8_t* frame = frame_start(packet);
    const auto& ip = header_at<Ipv6Header>(frame + kL2);
    const std::uint8_t* icmp = frame + kL2 + sizeof(Ipv6Header);
    if (!is_valid_solicitation(ip, icmp, ip_length - static_cast<std::uint32_t>(sizeof(Ipv6Header))))
        return DropReason::nd_malformed;
    if (!is_answered_for<V6>(world, port, reinterpret_cast<const NeighborMessage*>(icmp)->target))
        return DropReason::nd_not_vip;
    constexpr std::uint32_t kWithoutOption = kL2 + sizeof(Ipv6Header) + sizeof(NeighborMessage);
    trim_frame(packet, kWithoutOption);
    if (rte_pktmbuf_append(packet, sizeof(LinkLayerOption)) == nullptr) return DropReason::no_headroom;
    write_advertisement(packet, world.ports[index(port)]);
    return kNotDropped;
}

// IPv6 in a link-layer multicast: a neighbour solicitation, or nothing for us.
DropReason answer_multicast(rte_mbuf* packet, std::uint16_t ip_length, const ForwardingSnapshot& world,
                            PortId port) noexcept {
    const auto& ip = header_at<Ipv6Header>(frame_start(packet) + kL2);
    const bool may_be_nd =
        static_cast<IpProtocol>(ip.next_header) == IpProtocol::icmpv6 && ip.destination.bytes[0] == 0xff;
    if (!may_be_nd) return DropReason::not_our_mac;
    if (ip_length < sizeof(Ipv6Header) + sizeof(IcmpHeader)) return DropReason::nd_malformed;
    if (packet->data_len < kL2 + sizeof(Ipv6Header) + sizeof(IcmpHeader)) return DropReason::segmented;
    const auto& icmp = header_at<IcmpHeader>(frame_start(packet) + kL2 + sizeof(Ipv6Header));
    if (icmp.type != IcmpHeader::kNeighborSolicitation) return DropReason::nd_not_vip;
    return answer_neighbor(packet, ip_length, world, port);
}

void turn_around(Ipv4Header& ip) noexcept {
    std::swap(ip.source, ip.destination);
    ip.ttl = kFreshTtl;
    ip.checksum = Be16(0);
    ip.checksum = checksum_of(sum_of_bytes(&ip, (ip.version_ihl & 15u) * 4u));
}
void turn_around(Ipv6Header& ip) noexcept {
    std::swap(ip.source, ip.destination);
    ip.hop_limit = kFreshTtl;
}

ChecksumSum icmp_pseudo_sum(const Ipv4Header&, std::uint32_t) noexcept { return 0; }
ChecksumSum icmp_pseudo_sum(const Ipv6Header& ip, std::uint32_t length) noexcept {
    return pseudo_header_sum(ip.source, ip.destination, IpProtocol::icmpv6, length);
}

bool is_icmp_error(V4, std::uint8_t type) noexcept {
    // RFC 1122 3.2.2: unreachable, source quench, redirect, time exceeded, parameter problem
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}
bool is_icmp_error(V6, std::uint8_t type) noexcept { return type < 128; }  // RFC 4443 2.1

// ICMP for one of weir's addresses. classify has set l4_offset.
template <class Family>
DropReason answer_icmp(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world) noexcept {
    constexpr bool kIsV4 = Family::kFamily == weir::Family::v4;
    constexpr std::uint8_t kRequest = kIsV4 ? IcmpHeader::kV4EchoRequest : IcmpHeader::kV6EchoRequest;
    constexpr std::uint8_t kReply = kIsV4 ? IcmpHeader::kV4EchoReply : IcmpHeader::kV6EchoReply;

    rte_mbuf* packet = burst.packet[i];
    const std::uint32_t at = kL2 + burst.l4_offset[i];
    const std::uint32_t length = burst.ip_length[i] - burst.l4_offset[i];
    if (length < sizeof(IcmpHeader)) return DropReason::icmp_malformed;
    if (packet->data_len < at + sizeof(IcmpHeader)) return DropReason::segmented;
    std::uint8_t* frame = frame_start(packet);
    auto& ip = header_at<typename Family::Header>(frame + kL2);
    auto& icmp = header_at<IcmpHeader>(frame + at);
    if (is_icmp_error(Family{}, icmp.type)) return DropReason::icmp_error;
    if constexpr (!kIsV4) {
        if (icmp.type == IcmpHeader::kNeighborSolicitation && burst.l4_offset[i] == sizeof(Ipv6Header))
            return answer_neighbor(packet, burst.ip_length[i], world, burst.port);
        if (ip.source == Ipv6Address{}) return DropReason::ip_martian_source;
    }
    if (icmp.type != kRequest) return DropReason::icmp_other;
    if (packet->nb_segs > 1 && !world.ports[index(burst.port)].can_send_chains) return DropReason::segmented;
    if (icmp.code != 0 || fold(chain_sum(packet, at, length) + icmp_pseudo_sum(ip, length)) != 0xffff)
        return DropReason::icmp_malformed;

    trim_frame(packet, kL2 + burst.ip_length[i]);
    icmp.type = kReply;
    // In full: an incremental update (RFC 1624) of an echo of zeros would leave 0 where 0xffff is right.
    icmp.checksum = Be16(0);
    icmp.checksum = checksum_of(chain_sum(packet, at, length) + icmp_pseudo_sum(ip, length));
    turn_around(ip);
    send_back(frame, header_at<EthernetHeader>(frame).source, world.ports[index(burst.port)]);
    return kNotDropped;
}

DropReason answer_one(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world) noexcept {
    rte_mbuf* packet = burst.packet[i];
    const auto& ethernet = header_at<EthernetHeader>(frame_start(packet));
    const bool to_group = ethernet.destination.is_multicast();
    switch (static_cast<EtherType>(ethernet.type.value())) {
        case EtherType::arp:
            return answer_arp(packet, world, burst.port);
        case EtherType::ipv4:
            return to_group ? DropReason::not_our_mac : answer_icmp<V4>(burst, i, world);
        default:
            return to_group || is_group(header_at<Ipv6Header>(frame_start(packet) + kL2).destination)
                       ? answer_multicast(packet, burst.ip_length[i], world, burst.port)
                       : answer_icmp<V6>(burst, i, world);
    }
}

// Of the packets that may be weir's to answer, on a port with a host interface, those that are the kernel's:
// well-formed ARP that asks for no VIP, and what goes to a group and solicits no VIP.
bool is_for_arp_of_host(rte_mbuf* packet, const ForwardingSnapshot& world, PortId port) noexcept {
    if (packet->data_len < kL2 + sizeof(ArpHeader)) return false;
    const auto& arp = header_at<ArpHeader>(frame_start(packet) + kL2);
    return is_well_formed(arp) && !is_answered_for<V4>(world, port, arp.target);
}

// In a link-layer broadcast also a subnet's broadcast address, which only the kernel knows.
bool is_group_of_host(const Ipv4Header& ip, const MacAddress& to, const ForwardingSnapshot& world,
                      PortId port) noexcept {
    constexpr MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    if (is_group(ip.destination)) return true;
    return to == kBroadcast && world.services.find_vip(ip.destination) == ServiceTable::kNotVip &&
           !is_own_address<V4>(world.ports[index(port)], ip.destination);
}

bool is_group_of_host(rte_mbuf* packet, std::uint16_t ip_length, const ForwardingSnapshot& world,
                      PortId port) noexcept {
    const auto& ip = header_at<Ipv6Header>(frame_start(packet) + kL2);
    if (!is_group(ip.destination)) return false;
    if (static_cast<IpProtocol>(ip.next_header) != IpProtocol::icmpv6) return true;
    constexpr std::uint32_t kMessageEnd = sizeof(Ipv6Header) + sizeof(NeighborMessage);
    if (ip_length < kMessageEnd) return true;  // names nobody
    if (packet->data_len < kL2 + kMessageEnd) return false;
    const auto& message = header_at<NeighborMessage>(frame_start(packet) + kL2 + sizeof(Ipv6Header));
    return message.icmp.type != IcmpHeader::kNeighborSolicitation ||
           !is_answered_for<V6>(world, port, message.target);
}

bool is_the_kernels(const Burst& burst, std::uint32_t i, const ForwardingSnapshot& world) noexcept {
    if (!world.ports[index(burst.port)].has_host) return false;
    rte_mbuf* packet = burst.packet[i];
    const auto& ethernet = header_at<EthernetHeader>(frame_start(packet));
    switch (static_cast<EtherType>(ethernet.type.value())) {
        case EtherType::arp:
            return is_for_arp_of_host(packet, world, burst.port);
        case EtherType::ipv4:
            return ethernet.destination.is_multicast() &&
                   is_group_of_host(header_at<Ipv4Header>(frame_start(packet) + kL2), ethernet.destination,
                                    world, burst.port);
        default:
            return is_group_of_host(packet, burst.ip_length[i], world, burst.port);
    }
}

}  // namespace

void answer(Burst& burst, const ForwardingSnapshot& world) noexcept {
    for (const std::uint32_t i : burst.local) {
        if (is_the_kernels(burst, i, world)) {
            burst.for_host.push(i);
            continue;
        }
        const DropReason reason = answer_one(burst, i, world);
        if (reason == kNotDropped)
            burst.answered.add(i);
        else
            burst.drop(i, reason);
    }
}

}  // namespace weir
