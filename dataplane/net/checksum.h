// The Internet checksum (RFC 1071), its pseudo-headers, and its incremental update (RFC 1624).
//
// A *sum* here is an unfolded one's-complement sum of 16-bit words as they lie in memory, in 64 bits. Sums of
// parts may be added, as long as each part but the last has an even length; the byte order of the machine
// does not matter as long as the result is stored the way the words were loaded (RFC 1071 2(B)): that is what
// Be16::raw() is for. Pure functions; any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/net/address.h"
#include "dataplane/net/byte_order.h"
#include "dataplane/net/headers.h"

namespace weir {

using ChecksumSum = std::uint64_t;

// Sum over any bytes at any alignment; an odd last byte counts as the first byte of a word. 32-bit words into
// 64 bits: no carry is lost below 16 GiB.
[[nodiscard]] inline ChecksumSum sum_of_bytes(const void* data, std::size_t length) noexcept {
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    ChecksumSum sum = 0;
    std::size_t at = 0;
    for (; at + 4 <= length; at += 4) {
        std::uint32_t word;
        std::memcpy(&word, bytes + at, sizeof(word));
        sum += word;
    }
    // The tail is read as if zeros followed it; at is even, so each byte keeps its half of a 16-bit word.
    if (at < length) {
        std::uint32_t word = 0;
        std::memcpy(&word, bytes + at, length - at);
        sum += word;
    }
    return sum;
}

// The 16-bit one's-complement sum. 0 only if every summand was 0. Added to itself with its halves exchanged,
// a number has the sum of its halves in the upper one, and the carry out of the lower half is the end-around
// carry (RFC 1071 2(A)).
[[nodiscard]] constexpr std::uint16_t fold(ChecksumSum sum) noexcept {
    sum += std::rotr(sum, 32);
    auto half = static_cast<std::uint32_t>(sum >> 32);
    half += std::rotr(half, 16);
    return static_cast<std::uint16_t>(half >> 16);
}

// What goes into a checksum field. For UDP the caller sends 0xffff where this is 0 (RFC 768).
[[nodiscard]] constexpr Be16 checksum_of(ChecksumSum sum) noexcept {
    return Be16::from_raw(static_cast<std::uint16_t>(~fold(sum) & 0xffff));
}

// True if the checksum of a header of `length` bytes is right: all words including the checksum field sum up
// to "minus zero". With a constant length it unrolls.
[[nodiscard]] inline bool ipv4_checksum_ok(const Ipv4Header* header, std::size_t length) noexcept {
    return fold(sum_of_bytes(header, length)) == 0xffff;
}

// RFC 9293 3.1, RFC 768: `length` is that of the TCP or UDP header and payload.
[[nodiscard]] constexpr ChecksumSum pseudo_header_sum(Ipv4Address source, Ipv4Address destination,
                                                      IpProtocol protocol, std::uint16_t length) noexcept {
    return ChecksumSum{source.bits.raw()} + destination.bits.raw() +
           Be16(static_cast<std::uint16_t>(protocol)).raw() + Be16(length).raw();
}
// RFC 8200 8.1
[[nodiscard]] inline ChecksumSum pseudo_header_sum(const Ipv6Address& source, const Ipv6Address& destination,
                                                   IpProtocol protocol, std::uint32_t length) noexcept {
    return sum_of_bytes(&source, sizeof(source)) + sum_of_bytes(&destination, sizeof(destination)) +
           Be16(static_cast<std::uint16_t>(protocol)).raw() + Be32(length).raw();
}

// RFC 1624 eq. 3: HC' = ~(~HC + ~m + m'), where m and m' are the sums of the words before and after. A wrong
// checksum stays wrong by the same amount. Equals full recomputation, also where eq. 2 gives 0xffff for 0.
[[nodiscard]] constexpr Be16 updated_checksum(Be16 checksum, ChecksumSum before, ChecksumSum after) noexcept {
    const ChecksumSum kept = ~checksum.raw() & 0xffffu;
    const ChecksumSum without = ~fold(before) & 0xffffu;
    return checksum_of(kept + without + fold(after));
}
[[nodiscard]] constexpr Be16 updated_checksum(Be16 checksum, Be16 before, Be16 after) noexcept {
    return updated_checksum(checksum, ChecksumSum{before.raw()}, ChecksumSum{after.raw()});
}
[[nodiscard]] constexpr Be16 updated_checksum(Be16 checksum, Be32 before, Be32 after) noexcept {
    return updated_checksum(checksum, ChecksumSum{before.raw()}, ChecksumSum{after.raw()});
}

}  // namespace weir
