// Frames between plain bytes and mbufs. Not for the packet path: replay, captures, tests. The thread that
// owns the pool's lcore cache, or any thread.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <span>
#include <vector>

namespace weir {

// The longest frame that an mbuf chain's 16-bit lengths and a capture's snap length have in common.
inline constexpr std::size_t kLongestFrame = 65'535;

// A frame with these bytes; a chain if they do not fit one mbuf of the pool. nullptr: the pool is empty, or
// the frame is longer than kLongestFrame. The caller owns it.
[[nodiscard]] rte_mbuf* to_mbuf(rte_mempool& pool, std::span<const std::uint8_t> bytes) noexcept;

// The whole frame, over all its segments.
[[nodiscard]] std::vector<std::uint8_t> bytes_of(const rte_mbuf& frame);

}  // namespace weir
