#include "dataplane/stages/punt.h"

#include "dataplane/packet.h"
#include "dataplane/stages/for_host.h"

namespace weir {

namespace {

constexpr std::uint32_t kL2 = sizeof(EthernetHeader);
constexpr std::uint8_t kOneHop = 255;  // TTL of what has crossed no router (RFC 5082)
constexpr std::uint16_t kBgp = 179;

std::uint8_t hops_left(const Ipv4Header& ip) noexcept { return ip.ttl; }
std::uint8_t hops_left(const Ipv6Header& ip) noexcept { return ip.hop_limit; }

// RFC 5880 to 5883: control and echo over one hop prove that they crossed no router; multihop cannot.
bool is_bfd(std::uint16_t destination, std::uint8_t hops) noexcept {
    constexpr std::uint16_t kControl = 3784, kEcho = 3785, kMultihop = 4784;
    return ((destination == kControl || destination == kEcho) && hops == kOneHop) || destination == kMultihop;
}

// RFC 2328, RFC 5340: OSPF. RFC 5798: VRRP, with a TTL of 255.
bool is_ospf_or_vrrp(IpProtocol protocol, std::uint8_t hops) noexcept {
    constexpr IpProtocol kOspf{89}, kVrrp{112};
    return protocol == kOspf || (protocol == kVrrp && hops == kOneHop);
}

// RFC 4861: router and neighbour discovery. RFC 2710, RFC 3810: multicast listener discovery.
bool is_discovery(std::uint8_t type) noexcept {
    constexpr std::uint8_t kListenerQuery = 130, kRedirect = 137, kListenerReportV2 = 143;
    return (type >= kListenerQuery && type <= kRedirect) || type == kListenerReportV2;
}

// One packet, seen from its IP header on.
template <class F>
class HostPacket {
  public:
    HostPacket(const PacketBytes& bytes, const PuntContext& context) noexcept
        : bytes_(bytes), ip_(bytes.at<typename F::Header>(0)), context_(context) {}

    [[nodiscard]] PuntClass punt_class(bool is_link_layer_group) noexcept {
        const bool to_group = is_link_layer_group || is_group(ip_.destination);
        const PuntClass rest = to_group ? PuntClass::link : PuntClass::other;
        if (find_l4(bytes_, F{}, l4_) != kNotDropped || l4_.fragment) return rest;
        if (is_ospf_or_vrrp(l4_.protocol, hops_left(ip_))) return PuntClass::routing;
        if (l4_.protocol == F::kIcmp) return class_of_icmp(to_group);
        if (to_group || !is_tcp_or_udp(l4_.protocol) || check_l4(bytes_, l4_) != kNotDropped) return rest;
        return class_of_flow();
    }

  private:
    PuntClass class_of_icmp(bool to_group) noexcept {
        if constexpr (F::kFamily == Family::v6) {
            const bool has_header = bytes_.length >= l4_.offset + sizeof(IcmpHeader) &&
                                    bytes_.contiguous >= l4_.offset + sizeof(IcmpHeader);
            if (has_header && is_discovery(bytes_.at<IcmpHeader>(l4_.offset).type))
                return was_asked() ? PuntClass::neighbor : PuntClass::nd;
        }
        return to_group ? PuntClass::link : PuntClass::icmp;
    }
    // An advertisement is about its target, a solicitation comes from its source.
    [[nodiscard]] bool was_asked() const noexcept {
        const HostFlows* flows = context_.path.flows;
        if (flows == nullptr) return false;
        const bool is_advertisement =
            bytes_.at<IcmpHeader>(l4_.offset).type == IcmpHeader::kNeighborAdvertisement &&
            bytes_.contiguous >= l4_.offset + sizeof(NeighborMessage);
        if constexpr (F::kFamily == Family::v6)
            return flows->was_asked(
                is_advertisement ? bytes_.at<NeighborMessage>(l4_.offset).target : ip_.source, context_.now);
        return false;
    }
    PuntClass class_of_flow() noexcept {
        const HostFlows* flows = context_.path.flows;
        if (flows != nullptr && flows->is_known<F>(bytes_, l4_, context_.now)) return PuntClass::talking;
        const auto& ports = bytes_.at<UdpHeader>(l4_.offset);  // TCP's stand in the same place
        const std::uint16_t from = ports.source.value(), to = ports.destination.value();
        if (l4_.protocol == IpProtocol::udp)
            return is_bfd(to, hops_left(ip_)) ? PuntClass::routing : PuntClass::udp;
        if (from == kBgp || to == kBgp) return PuntClass::bgp;
        constexpr std::uint8_t kSynAck = TcpHeader::kSyn | TcpHeader::kAck;
        const std::uint8_t flags = bytes_.at<TcpHeader>(l4_.offset).flags;
        return (flags & kSynAck) == TcpHeader::kSyn ? PuntClass::tcp_syn : PuntClass::tcp;
    }

    const PacketBytes& bytes_;
    const typename F::Header& ip_;
    const PuntContext& context_;
    L4Location l4_{};
};

PuntClass class_of_arp(const ArpHeader& arp, const PuntContext& context) noexcept {
    const HostFlows* flows = context.path.flows;
    return flows != nullptr && flows->was_asked(arp.sender, context.now) ? PuntClass::neighbor
                                                                         : PuntClass::arp;
}

PuntClass class_of(const Burst& burst, std::uint32_t i, const PuntContext& context) noexcept {
    rte_mbuf* packet = burst.packet[i];
    const auto& ethernet = header_at<EthernetHeader>(frame_start(packet));
    const bool to_group = ethernet.destination.is_multicast();
    PacketBytes bytes = l3_bytes(packet);
    switch (static_cast<EtherType>(ethernet.type.value())) {
        case EtherType::arp:
            return class_of_arp(header_at<ArpHeader>(frame_start(packet) + kL2), context);
        case EtherType::ipv4:
            bytes.length = burst.ip_length[i];
            return HostPacket<V4>(bytes, context).punt_class(to_group);
        case EtherType::ipv6:
            bytes.length = burst.ip_length[i];
            return HostPacket<V6>(bytes, context).punt_class(to_group);
        default:
            return PuntClass::link;
    }
}

}  // namespace

void punt(Burst& burst, const PuntContext& context) noexcept {
    for (const std::uint32_t i : burst.for_host) {
        const PuntClass punt_class = class_of(burst, i, context);
        if (context.path.limits != nullptr && !context.path.limits->take(punt_class, context.now)) {
            context.counters.punt_limited[static_cast<std::size_t>(punt_class)].add(1);
            burst.drop(i, DropReason::punt_limited);
            continue;
        }
        burst.packet[i]->port = index(burst.port);
        burst.punted.add(i);
        context.buffer.push(burst.packet[i], punt_class);
    }
}

}  // namespace weir
