#include "tests/bench/traffic.h"

#include <algorithm>
#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "tests/bench/bench_world.h"

namespace weir::bench {

namespace {

constexpr std::uint32_t kRun = 32;
constexpr std::uint8_t kAck = TcpHeader::kAck, kSyn = TcpHeader::kSyn;

template <class T>
T& at(std::uint8_t* bytes, std::size_t offset) {
    return *reinterpret_cast<T*>(bytes + offset);
}

std::size_t ip_header_length(Family family) {
    return family == Family::v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
}
std::size_t l4_header_length(IpProtocol protocol) {
    return protocol == IpProtocol::tcp ? sizeof(TcpHeader) : sizeof(UdpHeader);
}
// An acknowledgement of 40 bytes is padded by its sender to the shortest frame; a longer frame is all packet.
std::uint16_t l4_length(const Row& row) {
    const std::size_t headers = sizeof(EthernetHeader) + ip_header_length(row.family);
    const std::size_t bare = l4_header_length(row.protocol);
    return static_cast<std::uint16_t>(row.frame_bytes <= 60 ? bare : row.frame_bytes - headers);
}

}  // namespace

Traffic::Traffic(const Row& row) : row_(row) {
    const std::size_t headers =
        sizeof(EthernetHeader) + ip_header_length(row.family) + l4_header_length(row.protocol);
    row_.frame_bytes = std::max(row_.frame_bytes, static_cast<std::uint32_t>(headers));
    auto& ethernet = at<EthernetHeader>(frame_.data(), 0);
    ethernet.destination = kWeirMac;
    ethernet.source = kRouterMac;
    const std::size_t l4 = sizeof(EthernetHeader) + ip_header_length(row.family);
    if (row.family == Family::v4) {
        ethernet.type = Be16(static_cast<std::uint16_t>(EtherType::ipv4));
        auto& ip = at<Ipv4Header>(frame_.data(), sizeof(EthernetHeader));
        ip.version_ihl = 0x45;
        ip.total_length = Be16(static_cast<std::uint16_t>(sizeof(Ipv4Header) + l4_length(row)));
        ip.fragment = Be16(Ipv4Header::kDontFragment);
        ip.ttl = 61;
        ip.protocol = static_cast<std::uint8_t>(row.protocol);
    } else {
        ethernet.type = Be16(static_cast<std::uint16_t>(EtherType::ipv6));
        auto& ip = at<Ipv6Header>(frame_.data(), sizeof(EthernetHeader));
        ip.version_class_label = Be32(6u << 28);
        ip.payload_length = Be16(l4_length(row));
        ip.next_header = static_cast<std::uint8_t>(row.protocol);
        ip.hop_limit = 61;
    }
    at<UdpHeader>(frame_.data(), l4).destination = Be16(kServicePort);
    if (row.protocol == IpProtocol::tcp) {
        at<TcpHeader>(frame_.data(), l4).data_offset = 5 << 4;
    } else {
        at<UdpHeader>(frame_.data(), l4).length = Be16(l4_length(row));
        // Any value but 0 says "there is one"; a balancer does not look whether it is right.
        at<UdpHeader>(frame_.data(), l4).checksum = Be16(0x1234);
    }
}

// xorshift64*, Vigna 2016
std::uint32_t Traffic::random() noexcept {
    random_state_ ^= random_state_ >> 12;
    random_state_ ^= random_state_ << 25;
    random_state_ ^= random_state_ >> 27;
    return static_cast<std::uint32_t>((random_state_ * 0x2545'f491'4f6c'dd1d) >> 32);
}

void Traffic::write_flow(rte_mbuf& packet, std::uint32_t flow, std::uint8_t tcp_flags) const {
    rte_pktmbuf_reset(&packet);
    packet.data_len = static_cast<std::uint16_t>(row_.frame_bytes);
    packet.pkt_len = row_.frame_bytes;
    if (row_.checksum_offload) packet.ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD;
    auto* frame = rte_pktmbuf_mtod(&packet, std::uint8_t*);
    const std::size_t l4 = sizeof(EthernetHeader) + ip_header_length(row_.family);
    std::memcpy(frame, frame_.data(), l4 + l4_header_length(row_.protocol));
    const std::uint32_t client = flow >> 15;
    // A flow keeps its service; neighbouring flows are of different ones.
    const auto service =
        static_cast<std::uint32_t>((std::uint64_t{flow * 0x9e37'79b1u} * row_.services) >> 32);
    if (row_.family == Family::v4) {
        auto& ip = at<Ipv4Header>(frame, sizeof(EthernetHeader));
        ip.source = Ipv4Address{Be32(0x0b00'0000u + client)};
        ip.destination = vip_v4(service);
        ip.checksum = checksum_of(sum_of_bytes(&ip, sizeof(ip)));
    } else {
        auto& ip = at<Ipv6Header>(frame, sizeof(EthernetHeader));
        ip.source = Ipv6Address{{0x20, 0x01, 0x0d, 0xb8, 0, 9}};
        at<Be32>(ip.source.bytes.data(), 12) = Be32(client + 1);
        ip.destination = vip_v6(service);
    }
    at<UdpHeader>(frame, l4).source = Be16(static_cast<std::uint16_t>(1024 + (flow & 0x7fff)));
    if (row_.protocol == IpProtocol::tcp) at<TcpHeader>(frame, l4).flags = tcp_flags;
}

void Traffic::write_fresh(rte_mbuf& packet) { write_flow(packet, next_fresh_++, kSyn); }

std::uint32_t Traffic::next_known() noexcept {
    if (row_.order == Order::random || run_left_ == 0) {
        run_flow_ = static_cast<std::uint32_t>((std::uint64_t{random()} * known()) >> 32);
        run_left_ = kRun;
    }
    --run_left_;
    return run_flow_;
}

void Traffic::write_known(rte_mbuf& packet) { write_flow(packet, next_known(), kAck); }

void Traffic::write(std::span<rte_mbuf* const> packets) {
    for (rte_mbuf* packet : packets) {
        fresh_turn_ = !fresh_turn_;
        const bool known = row_.mix == Mix::established || (row_.mix == Mix::half && fresh_turn_);
        known ? write_known(*packet) : write_fresh(*packet);
    }
}

}  // namespace weir::bench
