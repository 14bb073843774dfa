#include "dataplane/stages/client_identity.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "dataplane/net/checksum.h"
#include "dataplane/net/family.h"
#include "dataplane/net/proxy_header.h"
#include "dataplane/net/tcp_options.h"
#include "dataplane/packet.h"

namespace weir {

namespace {

constexpr std::uint32_t kL2 = sizeof(EthernetHeader);
constexpr std::uint32_t kLongestTcpHeader = 60;  // RFC 9293 3.1: 15 words
constexpr std::uint8_t kToaIpv4 = 8, kToaIpv6 = 20;
// A segment that is so small leaves room for a header in any network.
constexpr std::uint16_t kSmallSegment = 256;

std::uint8_t toa_length(const Session& session) noexcept {
    return session.family() == Family::v4 ? kToaIpv4 : kToaIpv6;
}

// RFC 9293 3.4: how far `number` is ahead of the client's first byte.
std::int32_t distance(const Session& session, std::uint32_t number) noexcept {
    return static_cast<std::int32_t>(number - session.first_sequence);
}

ClientEnds ends_of(const Session& session, const IpAddress& vip) noexcept {
    return {session.client,   vip.bytes(),      session.client_port,
            session.vip_port, session.family(), session.protocol()};
}

void replace(TcpHeader& tcp, Be32& field, std::uint32_t number) noexcept {
    const Be32 after(number);
    tcp.checksum = updated_checksum(tcp.checksum, field, after);
    field = after;
}

std::uint32_t length_of(const Ipv4Header& ip) noexcept { return ip.total_length.value(); }
std::uint32_t length_of(const Ipv6Header& ip) noexcept { return sizeof(ip) + ip.payload_length.value(); }
void set_length(Ipv4Header& ip, std::uint32_t length) noexcept {
    const Be16 after(static_cast<std::uint16_t>(length));
    ip.checksum = updated_checksum(ip.checksum, ip.total_length, after);
    ip.total_length = after;
}
void set_length(Ipv6Header& ip, std::uint32_t length) noexcept {
    ip.payload_length = Be16(static_cast<std::uint16_t>(length - sizeof(ip)));
}

// The packet to the backend, whose family is F.
template <class F>
class Outgoing {
  public:
    explicit Outgoing(const OutgoingPacket& out) noexcept : out_(out) {}

    [[nodiscard]] std::uint8_t* l4() const noexcept {
        return frame_start(out_.packet) + kL2 + out_.l4_offset;
    }
    [[nodiscard]] TcpHeader& tcp() const noexcept { return header_at<TcpHeader>(l4()); }
    [[nodiscard]] UdpHeader& udp() const noexcept { return header_at<UdpHeader>(l4()); }
    [[nodiscard]] std::uint32_t l4_length() const noexcept { return length_of(ip()) - out_.l4_offset; }
    // Bytes behind the IP header that lie in the first segment.
    [[nodiscard]] std::uint32_t contiguous() const noexcept {
        return out_.packet->data_len - kL2 - out_.l4_offset;
    }
    [[nodiscard]] ChecksumSum pseudo_sum(IpProtocol protocol) const noexcept {
        return pseudo_header_sum(ip().source, ip().destination, protocol,
                                 static_cast<std::uint16_t>(l4_length()));
    }

    // Puts `added` at `offset` of the L4 message. What stands before it moves into the headroom, and what
    // stands behind is not touched. Lengths and checksums of the L4 header are the caller's.
    [[nodiscard]] DropReason insert(std::uint32_t offset,
                                    std::span<const std::uint8_t> added) const noexcept {
        rte_mbuf* packet = out_.packet;
        const std::uint32_t front = kL2 + out_.l4_offset + offset, length = length_of(ip());
        if (packet->data_len < front) return DropReason::segmented;
        if (length + added.size() > out_.backend.max_packet_length) return DropReason::too_big;
        const std::size_t tags = out_.backend.header_length - kL2;  // which transmit puts in front
        if (packet->data_off < added.size() + tags) return DropReason::no_headroom;
        trim_frame(packet, kL2 + length);
        packet->data_off = static_cast<std::uint16_t>(packet->data_off - added.size());
        packet->data_len = static_cast<std::uint16_t>(packet->data_len + added.size());
        packet->pkt_len += static_cast<std::uint32_t>(added.size());
        std::uint8_t* frame = frame_start(packet);
        std::memmove(frame, frame + added.size(), front);
        std::memcpy(frame + front, added.data(), added.size());
        set_length(ip(), length + static_cast<std::uint32_t>(added.size()));
        return kNotDropped;
    }

  private:
    [[nodiscard]] typename F::Header& ip() const noexcept {
        return header_at<typename F::Header>(frame_start(out_.packet) + kL2);
    }

    const OutgoingPacket& out_;
};

// The payload's sum follows from the checksum, right or wrong: a wrong one stays so. Behind an odd number of
// bytes it is the same with its bytes swapped (RFC 1071 2(B)).
template <class F>
DropReason put_before_stream(const Outgoing<F>& out, const ProxyHeader& header) noexcept {
    const std::uint32_t length = tcp_header_length(out.tcp());
    if (out.contiguous() < length) return DropReason::segmented;
    const ChecksumSum known = out.pseudo_sum(IpProtocol::tcp) + sum_of_bytes(out.l4(), length);
    const auto payload = static_cast<std::uint16_t>(~fold(known));
    const DropReason why = out.insert(length, {header.data(), header.size()});
    if (why != kNotDropped) return why;
    TcpHeader& tcp = out.tcp();
    // RFC 9293 3.8.5: it counts from the segment's first byte, which is the header's now.
    if ((tcp.flags & TcpHeader::kUrg) != 0)
        tcp.urgent = Be16(static_cast<std::uint16_t>(std::min(tcp.urgent.value() + header.size(), 0xffff)));
    tcp.checksum = Be16(0);
    tcp.checksum =
        checksum_of(out.pseudo_sum(IpProtocol::tcp) + sum_of_bytes(out.l4(), length + header.size()) +
                    (header.size() % 2 != 0 ? byte_swapped(payload) : payload));
    return kNotDropped;
}

template <class F>
DropReason put_before_datagram(const Outgoing<F>& out, const ProxyHeader& header) noexcept {
    const DropReason why = out.insert(sizeof(UdpHeader), {header.data(), header.size()});
    if (why != kNotDropped) return why;
    UdpHeader& udp = out.udp();
    const Be16 before = udp.length, after(static_cast<std::uint16_t>(before.value() + header.size()));
    udp.length = after;
    if (F::kFamily == Family::v4 && udp.checksum.raw() == 0) return kNotDropped;  // RFC 768: there is none
    // The length counts twice, as it stands in the pseudo-header too. The header's is even.
    udp.checksum =
        updated_checksum(udp.checksum, ChecksumSum{before.raw()} * 2,
                         ChecksumSum{after.raw()} * 2 + sum_of_bytes(header.data(), header.size()));
    if (udp.checksum.raw() == 0) udp.checksum = Be16(0xffff);
    return kNotDropped;
}

template <class F>
DropReason tell_datagram(const Session& session, const OutgoingPacket& packet, const IpAddress& vip,
                         WorkerCounters& counters) noexcept {
    if (session.identity != ClientIdentity::proxy_v2) return kNotDropped;
    const ProxyHeader header(session.identity, ends_of(session, vip));
    const DropReason why = put_before_datagram(Outgoing<F>(packet), header);
    if (why == kNotDropped) counters.identities_sent.add(1);
    return why;
}

// A segment of a stream that has the PROXY header in front of it.
template <class F>
DropReason tell_stream(Session& session, const OutgoingPacket& packet, const IpAddress& vip,
                       WorkerCounters& counters) noexcept {
    const Outgoing<F> out(packet);
    TcpHeader& tcp = out.tcp();
    const std::uint32_t sequence = tcp.sequence.value();
    const auto shift = [&] { replace(tcp, tcp.sequence, sequence + session.identity_length); };
    const bool is_syn = (tcp.flags & TcpHeader::kSyn) != 0, is_reset = (tcp.flags & TcpHeader::kRst) != 0;
    const std::int32_t ahead = distance(session, sequence);
    if (is_syn) {
        // RFC 7413: its data stand at first_sequence, however late it comes. Without any it stays as it is.
        if (is_reset || out.l4_length() == tcp_header_length(tcp)) return kNotDropped;
    } else if (session.identity_arrived) {
        shift();
        return kNotDropped;
    } else if (is_reset) {
        // A RST counts only exactly where the backend has got to (RFC 5961 3.2): probably behind the header.
        if (session.identity_sent && ahead >= 0) shift();
        return kNotDropped;
    } else if (ahead != 0) {
        if (ahead < 0) return kNotDropped;
        session.identity_sent = true;  // its SACK blocks have numbers of that space
        shift();
        return kNotDropped;
    }
    const ProxyHeader header(session.identity, ends_of(session, vip));
    const DropReason why = put_before_stream(out, header);
    if (why != kNotDropped) return why;
    session.identity_sent = true;
    counters.identities_sent.add(1);
    return kNotDropped;
}

template <class F>
DropReason remove_toa(const Outgoing<F>& out, WorkerCounters& counters) noexcept {
    TcpHeader& tcp = out.tcp();
    const std::uint32_t length = tcp_header_length(tcp);
    if (has_plain_options(tcp, out.contiguous())) return kNotDropped;
    if (out.contiguous() < length) return DropReason::segmented;
    const std::span options(out.l4() + sizeof(TcpHeader), length - sizeof(TcpHeader));
    const ChecksumSum before = sum_of_bytes(options.data(), options.size());
    bool any = false;
    for_each_tcp_option(options, [&any](TcpOption kind, std::span<std::uint8_t> option) noexcept {
        if (kind != TcpOption::toa) return;
        std::ranges::fill(option, static_cast<std::uint8_t>(TcpOption::no_operation));
        any = true;
    });
    if (!any) return kNotDropped;
    tcp.checksum = updated_checksum(tcp.checksum, before, sum_of_bytes(options.data(), options.size()));
    counters.toa_removed.add(1);
    return kNotDropped;
}

// As the first option. False: there is no room for it.
template <class F>
bool put_toa(const Session& session, const Outgoing<F>& out) noexcept {
    const std::uint8_t size = toa_length(session);
    std::array<std::uint8_t, kToaIpv6> option{static_cast<std::uint8_t>(TcpOption::toa), size};
    std::memcpy(option.data() + 2, &session.client_port, sizeof(session.client_port));
    std::memcpy(option.data() + 4, session.client.data(), size - 4u);
    const std::uint32_t length = tcp_header_length(out.tcp());
    if (length + size > kLongestTcpHeader) return false;
    const std::span added = std::span(option).first(size);
    const Be16 message(static_cast<std::uint16_t>(out.l4_length()));
    if (out.insert(sizeof(TcpHeader), added) != kNotDropped) return false;
    TcpHeader& tcp = out.tcp();
    const auto offset = static_cast<std::uint8_t>((tcp.data_offset & 0x0f) | (length + size) / 4 << 4);
    const std::array<std::uint8_t, 2> before{tcp.data_offset}, after{offset};  // first bytes of a word
    const Be16 longer(static_cast<std::uint16_t>(out.l4_length()));
    tcp.data_offset = offset;
    tcp.checksum = updated_checksum(
        tcp.checksum, sum_of_bytes(before.data(), before.size()) + message.raw(),
        sum_of_bytes(after.data(), after.size()) + longer.raw() + sum_of_bytes(added.data(), added.size()));
    return true;
}

template <class F>
DropReason tell_by_option(Session& session, const OutgoingPacket& packet, WorkerCounters& counters) noexcept {
    const Outgoing<F> out(packet);
    const DropReason why = remove_toa(out, counters);
    if (why != kNotDropped) return why;
    const TcpHeader& tcp = out.tcp();
    constexpr std::uint8_t kNoData = TcpHeader::kSyn | TcpHeader::kRst;
    if (session.identity_arrived || (tcp.flags & kNoData) != 0 ||
        distance(session, tcp.sequence.value()) != 0)
        return kNotDropped;
    session.identity_sent = true;
    (put_toa(session, out) ? counters.identities_sent : counters.toa_left_out).add(1);
    return kNotDropped;
}

template <class F>
DropReason tell(Session& session, const OutgoingPacket& out, const IpAddress& vip,
                WorkerCounters& counters) noexcept {
    if (session.has(Session::kUdp)) return tell_datagram<F>(session, out, vip, counters);
    if (session.identity == ClientIdentity::toa) return tell_by_option<F>(session, out, counters);
    return tell_stream<F>(session, out, vip, counters);
}

// The client's number for one that the backend acknowledges. Within the header it is the client's first byte.
std::uint32_t for_client(const Session& session, bool arrived, std::uint32_t number) noexcept {
    const std::uint32_t lower = number - session.identity_length;
    if (arrived) return lower;
    const std::int32_t ahead = distance(session, number);
    if (!session.identity_sent || ahead <= 0) return number;
    return ahead < session.identity_length ? std::uint32_t{session.first_sequence} : lower;
}

void map_sack(const Session& session, bool arrived, std::span<std::uint8_t> option) noexcept {
    for (std::size_t at = 2; at + sizeof(Be32) <= option.size(); at += sizeof(Be32)) {
        auto& edge = header_at<Be32>(option.data() + at);
        edge = Be32(for_client(session, arrived, edge.value()));
    }
}

void lower_mss(const Session& session, std::span<std::uint8_t> option) noexcept {
    auto& mss = header_at<Be16>(option.data() + 2);
    if (mss.value() <= kSmallSegment) return;
    const unsigned identity =
        session.identity == ClientIdentity::toa ? toa_length(session) : session.identity_length;
    mss = Be16(static_cast<std::uint16_t>(mss.value() - identity));
}

// Whether the backend has got everything that tells it of the client. A RST says nothing of that: it
// acknowledges what it refuses.
bool says_arrived(const Session& session, const TcpHeader& tcp) noexcept {
    constexpr std::uint8_t kAckOrRst = TcpHeader::kAck | TcpHeader::kRst;
    return session.identity_sent && (tcp.flags & kAckOrRst) == TcpHeader::kAck &&
           distance(session, tcp.acknowledgement.value()) >= std::max<int>(session.identity_length, 1);
}

}  // namespace

void begin_identity(Session& session, ClientIdentity identity, const IpAddress& vip, Be32 sequence) noexcept {
    const bool over = session.state == FlowState::tcp_closing || session.state == FlowState::tcp_reset;
    if (session.has(Session::kAnswered) && !over) return;
    session.identity = identity;
    session.identity_arrived = false;
    session.identity_sent = false;
    session.identity_length = 0;
    session.first_sequence = sequence.value() + 1;
    if (identity == ClientIdentity::proxy_v1 || identity == ClientIdentity::proxy_v2)
        session.identity_length = ProxyHeader(identity, ends_of(session, vip)).size() & 0x7f;
}

DropReason tell_backend(Session& session, const OutgoingPacket& out, const IpAddress& vip,
                        WorkerCounters& counters) noexcept {
    return out.family == Family::v4 ? tell<V4>(session, out, vip, counters)
                                    : tell<V6>(session, out, vip, counters);
}

DropReason hear_backend(Session& session, rte_mbuf* packet, std::uint16_t l4_offset) noexcept {
    if (session.has(Session::kUdp)) return kNotDropped;
    std::uint8_t* l4 = frame_start(packet) + kL2 + l4_offset;
    auto& tcp = header_at<TcpHeader>(l4);
    const bool is_syn = (tcp.flags & TcpHeader::kSyn) != 0, has_ack = (tcp.flags & TcpHeader::kAck) != 0;
    // A SYN-ACK is from the stream's beginning, however late it comes.
    const bool arrived = session.identity_arrived && !is_syn;
    if (says_arrived(session, tcp)) session.identity_arrived = true;
    if (has_ack && session.identity_length != 0)
        replace(tcp, tcp.acknowledgement, for_client(session, arrived, tcp.acknowledgement.value()));
    const std::uint32_t length = tcp_header_length(tcp), contiguous = packet->data_len - kL2 - l4_offset;
    if (has_plain_options(tcp, contiguous)) return kNotDropped;
    if (contiguous < length) return DropReason::segmented;  // a block that stays as it is tells lies
    const std::span options(l4 + sizeof(TcpHeader), length - sizeof(TcpHeader));
    const ChecksumSum before = sum_of_bytes(options.data(), options.size());
    for_each_tcp_option(options, [&](TcpOption kind, std::span<std::uint8_t> option) noexcept {
        if (kind == TcpOption::sack && session.identity_length != 0) map_sack(session, arrived, option);
        if (kind == TcpOption::maximum_segment_size && option.size() == 4 && is_syn && has_ack)
            lower_mss(session, option);
    });
    const ChecksumSum after = sum_of_bytes(options.data(), options.size());
    if (after != before) tcp.checksum = updated_checksum(tcp.checksum, before, after);
    return kNotDropped;
}

}  // namespace weir
