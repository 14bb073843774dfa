// Time as flow entries know it: ticks of 1/64 s in 32 bits, wrapping. Only differences mean anything.
#pragma once

#include <cstdint>

namespace weir {

enum class Tick : std::uint32_t {};
inline constexpr std::uint32_t kTicksPerSecond = 64;
// Longest timeout: entries hold 24 bits of their deadline, compared as a signed difference (36 h).
inline constexpr std::uint32_t kMaxTimeoutTicks = 24 * 3600 * kTicksPerSecond;

using TickCount = std::uint32_t;

constexpr Tick operator+(Tick tick, TickCount count) noexcept {
    return Tick{static_cast<std::uint32_t>(tick) + count};
}
constexpr Tick tick_of_nanoseconds(std::uint64_t ns) noexcept {
    constexpr std::uint64_t kNanosecondsPerTick = 1'000'000'000 / kTicksPerSecond;
    static_assert(kNanosecondsPerTick * kTicksPerSecond == 1'000'000'000);
    return Tick{static_cast<std::uint32_t>(ns / kNanosecondsPerTick)};
}

// Idle timeouts of flows, in ticks; part of the snapshot, so that a reload changes them.
struct FlowTimeouts {
    TickCount tcp_opening, tcp_established, tcp_closing, udp;
};

}  // namespace weir
