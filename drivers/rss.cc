#include "drivers/rss.h"

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_thash.h>

#include <cstring>

namespace weir {
namespace {

// What rte_softrss takes: big-endian words of the tuple, read into this machine's order.
template <std::size_t kAddressBytes>
std::uint32_t hash_tuple(const ToeplitzKey& key, const std::uint8_t* source, const std::uint8_t* destination,
                         std::uint16_t source_port, std::uint16_t destination_port) noexcept {
    constexpr std::size_t kWords = 2 * kAddressBytes / 4 + 1;
    std::array<std::uint32_t, kWords> words;
    std::memcpy(words.data(), source, kAddressBytes);
    std::memcpy(words.data() + kAddressBytes / 4, destination, kAddressBytes);
    for (std::size_t i = 0; i + 1 < kWords; ++i) words[i] = rte_be_to_cpu_32(words[i]);
    words[kWords - 1] = static_cast<std::uint32_t>(source_port) << 16 | destination_port;
    return rte_softrss(words.data(), kWords, key.data());
}

// A bounds-checked walk over the first segment.
class Cursor {
  public:
    explicit Cursor(const rte_mbuf& frame) noexcept
        : at_(rte_pktmbuf_mtod(&frame, const std::uint8_t*)), left_(rte_pktmbuf_data_len(&frame)) {}

    template <class T>
    std::optional<T> peek() const noexcept {
        if (left_ < sizeof(T)) return std::nullopt;
        T header;
        std::memcpy(&header, at_, sizeof(T));
        return header;
    }
    bool skip(std::size_t bytes) noexcept {
        if (bytes > left_) return false;
        at_ += bytes;
        left_ -= bytes;
        return true;
    }

  private:
    const std::uint8_t* at_;
    std::size_t left_;
};

struct L4Ports {
    rte_be16_t source, destination;
};

bool has_ports(std::uint8_t protocol) noexcept { return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP; }

std::optional<std::uint32_t> hash_ipv4(Cursor cursor, const ToeplitzKey& key) noexcept {
    const auto ip = cursor.peek<rte_ipv4_hdr>();
    if (!ip || !has_ports(ip->next_proto_id)) return std::nullopt;
    const auto fragment_bits = rte_be_to_cpu_16(ip->fragment_offset);
    if ((fragment_bits & (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0) return std::nullopt;
    if (ip->ihl < 5 || !cursor.skip(ip->ihl * 4u)) return std::nullopt;
    const auto ports = cursor.peek<L4Ports>();
    if (!ports) return std::nullopt;
    std::array<std::uint8_t, 8> addresses;
    std::memcpy(addresses.data(), &ip->src_addr, 4);
    std::memcpy(addresses.data() + 4, &ip->dst_addr, 4);
    return hash_tuple<4>(key, addresses.data(), addresses.data() + 4, rte_be_to_cpu_16(ports->source),
                         rte_be_to_cpu_16(ports->destination));
}

std::optional<std::uint32_t> hash_ipv6(Cursor cursor, const ToeplitzKey& key) noexcept {
    const auto ip = cursor.peek<rte_ipv6_hdr>();
    if (!ip || !has_ports(ip->proto) || !cursor.skip(sizeof(*ip))) return std::nullopt;
    const auto ports = cursor.peek<L4Ports>();
    if (!ports) return std::nullopt;
    return hash_tuple<16>(key, ip->src_addr, ip->dst_addr, rte_be_to_cpu_16(ports->source),
                          rte_be_to_cpu_16(ports->destination));
}

}  // namespace

std::optional<std::uint32_t> rss_hash_of_frame(const rte_mbuf& frame, const ToeplitzKey& key) noexcept {
    Cursor cursor(frame);
    const auto ethernet = cursor.peek<rte_ether_hdr>();
    if (!ethernet || !cursor.skip(sizeof(*ethernet))) return std::nullopt;
    rte_be16_t type = ethernet->ether_type;
    for (int tag = 0; tag < 2; ++tag) {
        if (type != RTE_BE16(RTE_ETHER_TYPE_VLAN) && type != RTE_BE16(RTE_ETHER_TYPE_QINQ)) break;
        const auto vlan = cursor.peek<rte_vlan_hdr>();
        if (!vlan || !cursor.skip(sizeof(*vlan))) return std::nullopt;
        type = vlan->eth_proto;
    }
    if (type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) return hash_ipv4(cursor, key);
    if (type == RTE_BE16(RTE_ETHER_TYPE_IPV6)) return hash_ipv6(cursor, key);
    return std::nullopt;
}

std::uint32_t rss_hash(const ToeplitzKey& key, const WireIpv4& source, const WireIpv4& destination,
                       std::uint16_t source_port, std::uint16_t destination_port) noexcept {
    return hash_tuple<4>(key, source.data(), destination.data(), source_port, destination_port);
}

std::uint32_t rss_hash(const ToeplitzKey& key, const WireIpv6& source, const WireIpv6& destination,
                       std::uint16_t source_port, std::uint16_t destination_port) noexcept {
    return hash_tuple<16>(key, source.data(), destination.data(), source_port, destination_port);
}

std::uint16_t rss_queue_of_frame(const rte_mbuf& frame, const ToeplitzKey& key,
                                 const RetaTable& table) noexcept {
    return table.queue(rss_hash_of_frame(frame, key).value_or(0));
}

}  // namespace weir
