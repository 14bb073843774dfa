#include "dataplane/stages/cut.h"

#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/family.h"
#include "dataplane/packet.h"
#include "dataplane/stages/own_header.h"
#include "dataplane/stages/select_backend.h"

namespace weir {

namespace {

constexpr std::uint32_t kL2 = sizeof(EthernetHeader);
constexpr std::uint8_t kNoOptions = (sizeof(TcpHeader) / 4) << 4;  // TcpHeader::data_offset

// RFC 9293 3.4: with SYN and FIN, each of which stands in the sequence like a byte of data. RSTs are not
// asked for.
std::uint32_t sequence_length(const TcpHeader& segment, std::uint32_t length) noexcept {
    const std::uint32_t header = (segment.data_offset >> 4) * 4u;
    return length - header + ((segment.flags & TcpHeader::kFin) != 0 ? 1 : 0) +
           ((segment.flags & TcpHeader::kSyn) != 0 ? 1 : 0);
}

// RFC 9293 3.10.7.1: the RST that answers a segment of `length` bytes. The checksum is 0.
TcpHeader answer_to(const TcpHeader& segment, std::uint32_t length) noexcept {
    TcpHeader reset{};
    reset.source = segment.destination;
    reset.destination = segment.source;
    reset.data_offset = kNoOptions;
    reset.flags = TcpHeader::kRst;
    if ((segment.flags & TcpHeader::kAck) != 0) {
        reset.sequence = segment.acknowledgement;
    } else {
        reset.flags |= TcpHeader::kAck;
        reset.acknowledgement = Be32(segment.sequence.value() + sequence_length(segment, length));
    }
    return reset;
}

// Of a header alone. An IPv6 packet's destination is the final one: parse lets no routing header pass that is
// not used up (RFC 8200 8.1).
template <class Header>
Be16 tcp_checksum(const Header& ip, const TcpHeader& tcp) noexcept {
    return checksum_of(sum_of_bytes(&tcp, sizeof(tcp)) +
                       pseudo_header_sum(ip.source, ip.destination, IpProtocol::tcp, sizeof(tcp)));
}

// The RST to the client; null if the pool has no mbuf. The mbuf is from the packet's own pool and has its
// dynamic fields: what travels with a packet (a replay's time stamp) travels with what it causes.
template <class F>
rte_mbuf* make_reset_to_client(rte_mbuf* packet, std::uint32_t l4_offset, std::uint32_t l4_length,
                               const PortRecord& port) noexcept {
    using Header = typename F::Header;
    rte_mbuf* reset = rte_pktmbuf_alloc(packet->pool);
    if (reset == nullptr) return nullptr;
    rte_mbuf_dynfield_copy(reset, packet);
    std::uint8_t* received = frame_start(packet);
    const auto& refused = header_at<Header>(received + kL2);
    const Header ip = own_header(refused.destination, refused.source, IpProtocol::tcp, sizeof(TcpHeader));
    TcpHeader tcp = answer_to(header_at<TcpHeader>(received + kL2 + l4_offset), l4_length);
    tcp.checksum = tcp_checksum(ip, tcp);

    constexpr std::uint16_t kLength = kL2 + sizeof(ip) + sizeof(tcp);
    reset->data_len = kLength;
    reset->pkt_len = kLength;
    std::uint8_t* frame = frame_start(reset);
    header_at<EthernetHeader>(frame) = {.destination = header_at<EthernetHeader>(received).source,
                                        .source = port.mac,
                                        .type = Be16(static_cast<std::uint16_t>(F::kEtherType))};
    std::memcpy(frame + kL2, &ip, sizeof(ip));
    std::memcpy(frame + kL2 + sizeof(ip), &tcp, sizeof(tcp));
    return reset;
}

// What says how long an IP packet is.
void set_length(Ipv4Header& ip, std::uint16_t length) noexcept {
    ip.total_length = Be16(length);
    ip.checksum = Be16(0);
    ip.checksum = checksum_of(sum_of_bytes(&ip, (ip.version_ihl & 15u) * 4u));
}
void set_length(Ipv6Header& ip, std::uint16_t length) noexcept {
    ip.payload_length = Be16(static_cast<std::uint16_t>(length - sizeof(ip)));
}

// Makes the client's packet its RST to the backend, in place. All of it then lies in the first segment.
template <class F>
void turn_into_reset(Burst& burst, std::uint32_t i) noexcept {
    const std::uint32_t l4_offset = burst.l4_offset[i];
    const auto length = static_cast<std::uint16_t>(l4_offset + sizeof(TcpHeader));
    trim_frame(burst.packet[i], kL2 + length);
    burst.ip_length[i] = length;
    std::uint8_t* frame = frame_start(burst.packet[i]);
    auto& ip = header_at<typename F::Header>(frame + kL2);
    auto& tcp = header_at<TcpHeader>(frame + kL2 + l4_offset);
    set_length(ip, length);
    tcp.data_offset = kNoOptions;
    tcp.flags = TcpHeader::kRst | (tcp.flags & TcpHeader::kAck);
    tcp.window = Be16(0);
    tcp.urgent = Be16(0);
    tcp.checksum = Be16(0);
    tcp.checksum = tcp_checksum(ip, tcp);
}

}  // namespace

void reset_client(const Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                  OriginatedBuffer& resets, WorkerCounters& counters) noexcept {
    const std::uint32_t l4_offset = burst.l4_offset[i], l4_length = burst.ip_length[i] - l4_offset;
    const PortRecord& port = world.ports[index(burst.port)];
    rte_mbuf* reset = burst.family[i] == Family::v4
                          ? make_reset_to_client<V4>(burst.packet[i], l4_offset, l4_length, port)
                          : make_reset_to_client<V6>(burst.packet[i], l4_offset, l4_length, port);
    if (reset != nullptr)
        resets.push(reset, burst.port, kOriginatedRst);
    else
        counters.originated_lost[kOriginatedRst].add(1);
}

bool cut_flow(Burst& burst, std::uint32_t i, const SelectionContext& context, FlowRef entry) noexcept {
    const ServiceRecord& service = context.world.service_records[index(burst.service[i])];
    const BackendId id = entry.backend();
    const BackendRecord& record = context.world.view_of(service)[id];
    const FlowEvent event = burst.event[i];
    if (record.cut_pool != service.pool || event == FlowEvent::syn || event == FlowEvent::datagram)
        return false;
    detail::count_sign(context.counters.backends[index(id)], entry.state(), event);
    count_flow_end(context.counters, burst.service[i], id);
    context.flows.erase(entry);
    if (event != FlowEvent::rst) {
        reset_client(burst, i, context.world, context.resets, context.counters);
        burst.family[i] == Family::v4 ? turn_into_reset<V4>(burst, i) : turn_into_reset<V6>(burst, i);
        if (!detail::is_sendable(burst.packet[i], burst.ip_length[i], context.world, record)) {
            burst.drop(i, DropReason::flow_cut);
            return true;
        }
    }
    detail::send_to(burst, i, context, record, id);
    return true;
}

}  // namespace weir
