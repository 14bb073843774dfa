#include "dataplane/stages/too_big.h"

#include <algorithm>
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/family.h"
#include "dataplane/packet.h"
#include "dataplane/stages/own_header.h"

namespace weir {

namespace {

constexpr std::uint32_t kL2 = sizeof(EthernetHeader);

// How long an ICMP error may be as an IP packet: RFC 1812 4.3.2.3, RFC 4443 2.4(c).
template <class F>
constexpr std::uint32_t kLongest = F::kFamily == Family::v4 ? 576 : 1'280;

// From an address of the port's own, where it has one of the family; else from whom the packet was for.
template <class F>
typename F::Address own_address(const PortRecord& port, const typename F::Address& destination) noexcept {
    for (const IpAddress& own : port.addresses) {
        if (own.family() != F::kFamily) continue;
        if constexpr (F::kFamily == Family::v4)
            return own.v4();
        else
            return own.v6();
    }
    return destination;
}

// The error, whose message is whole but for the checksum; null: no mbuf. What it quotes lies in the packet's
// first segment: the headers do, and no more is asked for.
template <class F>
rte_mbuf* make_error(const rte_mbuf* packet, std::uint32_t ip_length, std::uint32_t mtu,
                     const PortRecord& port) noexcept {
    using Header = typename F::Header;
    rte_mbuf* error = rte_pktmbuf_alloc(packet->pool);
    if (error == nullptr) return nullptr;
    rte_mbuf_dynfield_copy(error, packet);
    const auto& received = *rte_pktmbuf_mtod(packet, const EthernetHeader*);
    const PacketBytes bytes = l3_bytes(packet);
    const auto& refused = bytes.at<Header>(0);
    constexpr std::uint32_t kRoom = kLongest<F> - sizeof(Header) - sizeof(IcmpHeader);
    const std::uint32_t quoted = std::min({kRoom, bytes.contiguous, ip_length});
    const std::uint32_t length = sizeof(IcmpHeader) + quoted;
    const Header ip = own_header(own_address<F>(port, refused.destination), refused.source, F::kIcmp, length);

    error->data_len = static_cast<std::uint16_t>(kL2 + sizeof(ip) + length);
    error->pkt_len = error->data_len;
    std::uint8_t* frame = frame_start(error);
    header_at<EthernetHeader>(frame) = {.destination = received.source,
                                        .source = port.mac,
                                        .type = Be16(static_cast<std::uint16_t>(F::kEtherType))};
    header_at<Header>(frame + kL2) = ip;
    std::uint8_t* message = frame + kL2 + sizeof(ip);
    std::memcpy(message + sizeof(IcmpHeader), bytes.data, quoted);
    IcmpHeader icmp{};
    icmp.type = F::kFamily == Family::v4 ? IcmpHeader::kV4Unreachable : IcmpHeader::kV6TooBig;
    icmp.code = F::kFamily == Family::v4 ? IcmpHeader::kV4FragmentationNeeded : std::uint8_t{0};
    icmp.rest = Be32(mtu);
    header_at<IcmpHeader>(message) = icmp;
    ChecksumSum sum = sum_of_bytes(message, length);
    if constexpr (F::kFamily == Family::v6)
        sum += pseudo_header_sum(ip.source, ip.destination, IpProtocol::icmpv6, length);
    header_at<IcmpHeader>(message).checksum = checksum_of(sum);
    return error;
}

// `length` bytes of the packet's payload from `at` on, behind the headers and a fragment header; null: no
// mbuf.
rte_mbuf* make_fragment(const rte_mbuf* packet, std::uint32_t at, std::uint32_t length, bool is_last,
                        std::uint32_t identification) noexcept {
    constexpr std::uint32_t kHeaders = kL2 + sizeof(Ipv6Header);
    rte_mbuf* fragment = rte_pktmbuf_alloc(packet->pool);
    if (fragment == nullptr) return nullptr;
    rte_mbuf_dynfield_copy(fragment, packet);
    std::uint8_t* frame = frame_start(fragment);
    std::memcpy(frame, rte_pktmbuf_mtod(packet, const std::uint8_t*), kHeaders);
    auto& ip = header_at<Ipv6Header>(frame + kL2);
    header_at<Ipv6Fragment>(frame + kHeaders) = {
        .next_header = ip.next_header,
        .reserved = 0,
        .offset_more = Be16(static_cast<std::uint16_t>(at | (is_last ? 0 : 1))),
        .identification = Be32(identification)};
    ip.next_header = static_cast<std::uint8_t>(IpProtocol::fragment);
    ip.payload_length = Be16(static_cast<std::uint16_t>(sizeof(Ipv6Fragment) + length));
    std::uint8_t* payload = frame + kHeaders + sizeof(Ipv6Fragment);
    const void* bytes = rte_pktmbuf_read(packet, kHeaders + at, length, payload);
    if (bytes != payload) std::memcpy(payload, bytes, length);
    fragment->data_len = static_cast<std::uint16_t>(kHeaders + sizeof(Ipv6Fragment) + length);
    fragment->pkt_len = fragment->data_len;
    return fragment;
}

}  // namespace

void tell_too_big(const Burst& burst, std::uint32_t i, std::uint32_t mtu, const ForwardingSnapshot& world,
                  OriginatedBuffer& originated, WorkerCounters& counters) noexcept {
    const rte_mbuf* packet = burst.packet[i];
    const PortRecord& port = world.ports[index(burst.port)];
    const bool v4 = burst.family[i] == Family::v4;
    if (v4 && may_be_fragmented(l3_bytes(packet).at<Ipv4Header>(0))) return;
    rte_mbuf* error = v4 ? make_error<V4>(packet, burst.ip_length[i], mtu, port)
                         : make_error<V6>(packet, burst.ip_length[i], mtu, port);
    if (error != nullptr)
        originated.push(error, burst.port, kOriginatedIcmpError);
    else
        counters.originated_lost[kOriginatedIcmpError].add(1);
}

bool fragment_ipv6(Burst& burst, std::uint32_t i, std::uint32_t mtu, std::uint32_t identification,
                   PortId exit, OriginatedBuffer& originated) noexcept {
    constexpr std::uint32_t kMost = 64;
    rte_mbuf* packet = burst.packet[i];
    const auto payload = static_cast<std::uint32_t>(burst.ip_length[i] - sizeof(Ipv6Header));
    const std::uint32_t held = rte_pktmbuf_data_room_size(packet->pool) - RTE_PKTMBUF_HEADROOM - kL2;
    const auto room =
        static_cast<std::uint32_t>(std::min(mtu, held) - sizeof(Ipv6Header) - sizeof(Ipv6Fragment));
    const std::uint32_t step = room & ~7u;  // RFC 8200 4.5: whole units of 8 bytes, but for the last
    const std::uint32_t count = (payload + step - 1) / step;
    if (count > kMost || !originated.has_room(count - 1)) return false;
    std::array<rte_mbuf*, kMost> fragments;
    for (std::uint32_t n = 0; n < count; ++n) {
        const std::uint32_t at = n * step;
        fragments[n] =
            make_fragment(packet, at, std::min(step, payload - at), n + 1 == count, identification);
        if (fragments[n] != nullptr) continue;
        rte_pktmbuf_free_bulk(fragments.data(), n);
        return false;
    }
    for (std::uint32_t n = 1; n < count; ++n) originated.push(fragments[n], exit, kOriginatedFragment);
    burst.packet[i] = fragments[0];
    rte_pktmbuf_free(packet);
    return true;
}

}  // namespace weir
