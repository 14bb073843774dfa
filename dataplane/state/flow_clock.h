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

// A timeout as entries compare it: their deadlines stand in the upper 24 bits of a word (flow_bucket.h).
class FlowTimeout {
  public:
    // A deadline is written again only when it moves by this part of its timeout: known flows then leave
    // their cache line clean. A flow is forgotten after (1 - 1/16) to 1 timeout of silence.
    static constexpr TickCount kRefreshPart = 16;
    static constexpr unsigned kScale = 8;

    constexpr FlowTimeout() noexcept : FlowTimeout(0) {}
    // At most kMaxTimeoutTicks.
    constexpr FlowTimeout(TickCount ticks) noexcept  // NOLINT(google-explicit-constructor): it is one
        : ticks_(ticks), span_((ticks << kScale) / kRefreshPart - 1), least_((ticks << kScale) - span_) {}

    [[nodiscard]] constexpr TickCount ticks() const noexcept { return ticks_; }
    // An entry with so much time left need not be written again. More time than the timeout (a reload has
    // shortened it) is not fresh either.
    [[nodiscard]] constexpr bool is_fresh(std::int32_t scaled_ticks_left) const noexcept {
        return static_cast<std::uint32_t>(scaled_ticks_left) - least_ <= span_;
    }

  private:
    std::uint32_t ticks_, span_, least_;
};

// Idle timeouts of flows, in ticks; part of the snapshot, so that a reload changes them.
struct FlowTimeouts {
    TickCount tcp_opening, tcp_established, tcp_closing, udp;
};

}  // namespace weir
