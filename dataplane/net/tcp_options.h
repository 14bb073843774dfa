// The options of a TCP header (RFC 9293 3.1), walked safely. Pure functions over bytes; any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "dataplane/net/headers.h"

namespace weir {

enum class TcpOption : std::uint8_t {
    end = 0,
    no_operation = 1,
    maximum_segment_size = 2,
    sack = 5,
    toa = 254
};

[[nodiscard]] constexpr std::uint32_t tcp_header_length(const TcpHeader& tcp) noexcept {
    return (tcp.data_offset >> 4) * 4u;
}

// What nearly every segment has: no options, or a timestamp alone, as RFC 7323 appendix A lays it out.
[[nodiscard]] inline bool has_plain_options(const TcpHeader& tcp, std::uint32_t contiguous) noexcept {
    constexpr std::uint32_t kNone = sizeof(TcpHeader), kTimestamp = kNone + 12;
    constexpr std::uint8_t kBegin[] = {1, 1, 8, 10};
    const std::uint32_t length = tcp_header_length(tcp);
    if (length == kNone) return true;
    return length == kTimestamp && contiguous >= length &&
           std::memcmp(reinterpret_cast<const std::uint8_t*>(&tcp) + kNone, kBegin, sizeof(kBegin)) == 0;
}

// Calls visit(TcpOption, option) for each whole option but the paddings, kind and length included. Whoever
// reads options stops at the first that is none (length 0 or 1, or beyond the end), and so does this.
template <class Visit>
void for_each_tcp_option(std::span<std::uint8_t> options, Visit&& visit) noexcept {
    std::size_t at = 0;
    while (at < options.size()) {
        const auto kind = static_cast<TcpOption>(options[at]);
        if (kind == TcpOption::end) return;
        if (kind == TcpOption::no_operation) {
            ++at;
            continue;
        }
        if (at + 2 > options.size()) return;
        const std::size_t length = options[at + 1];
        if (length < 2 || length > options.size() - at) return;
        visit(kind, options.subspan(at, length));
        at += length;
    }
}

}  // namespace weir
