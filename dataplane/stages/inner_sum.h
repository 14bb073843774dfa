// The one's-complement sum of a whole TCP or UDP packet, from its headers alone where that is possible.
//
// A segment with a valid checksum and its pseudo header sum to 0xffff, which is zero in one's complement: so
// the segment sums to minus its pseudo header. That leaves the IP header: an IPv4 header with a valid
// checksum sums to zero. Of an IPv6 header the addresses cancel out against those of the pseudo header, and
// its first eight bytes are left, and extensions, if there are any.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/family.h"
#include "dataplane/packet.h"

namespace weir {

// Sum over `length` bytes of a frame, which may be a chain, from `offset` on.
inline std::uint64_t chain_sum(const rte_mbuf* packet, std::uint32_t offset, std::uint32_t length) noexcept {
    std::uint64_t sum = 0;
    bool odd = false;  // the bytes before this segment end in the middle of a 16-bit word
    for (const rte_mbuf* segment = packet; segment != nullptr && length > 0; segment = segment->next) {
        const std::uint32_t skip = offset < segment->data_len ? offset : segment->data_len;
        offset -= skip;
        std::uint32_t take = segment->data_len - skip;
        take = take < length ? take : length;
        if (take == 0) continue;
        const auto* bytes = rte_pktmbuf_mtod_offset(segment, const std::uint8_t*, skip);
        const std::uint16_t part = fold(sum_of_bytes(bytes, take));
        sum +=
            odd ? byte_swapped(part) : part;  // RFC 1071 2(B): a sum shifted by a byte is its bytes swapped
        odd ^= (take & 1) != 0;
        length -= take;
    }
    return sum;
}

// True if the L4 checksum covers everything behind the IP header.
inline bool has_full_checksum(const std::uint8_t* l4, IpProtocol protocol, std::uint32_t l4_length) noexcept {
    if (protocol != IpProtocol::udp) return true;
    const auto& udp = *reinterpret_cast<const UdpHeader*>(l4);
    return udp.checksum.raw() != 0 && udp.length.value() == l4_length;
}

// `at` is where the inner IP packet starts in the frame. Not folded.
template <class Inner>
std::uint64_t inner_sum(const Burst& burst, std::uint32_t i, std::uint32_t at) noexcept {
    const std::uint8_t* ip = frame_start(burst.packet[i]) + at;
    const std::uint32_t l4_offset = burst.l4_offset[i];
    const std::uint32_t l4_length = burst.ip_length[i] - l4_offset;
    const IpProtocol protocol = burst.protocol(i);
    if (!has_full_checksum(ip + l4_offset, protocol, l4_length)) [[unlikely]]
        return chain_sum(burst.packet[i], at, burst.ip_length[i]);
    if constexpr (Inner::kFamily == Family::v4) {
        const auto& header = *reinterpret_cast<const Ipv4Header*>(ip);
        const ChecksumSum pseudo = pseudo_header_sum(header.source, header.destination, protocol,
                                                     static_cast<std::uint16_t>(l4_length));
        return static_cast<std::uint16_t>(~fold(pseudo));
    } else {
        constexpr std::uint32_t kBeforeAddresses = offsetof(Ipv6Header, source);
        const ChecksumSum pseudo =
            ChecksumSum{Be16(static_cast<std::uint16_t>(protocol)).raw()} + Be32(l4_length).raw();
        return static_cast<std::uint16_t>(~fold(pseudo)) + sum_of_bytes(ip, kBeforeAddresses) +
               sum_of_bytes(ip + sizeof(Ipv6Header), l4_offset - sizeof(Ipv6Header));
    }
}

}  // namespace weir
