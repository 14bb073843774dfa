// How many packets of each class may go up to the kernel: a token bucket each. One worker's; replay, whose
// workers take turns on one thread, has one for all of them.
//
// Tokens come by whole ticks of 1/64 s, so a bucket must hold what a tick brings, or its rate is not reached.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "dataplane/net/punt_class.h"
#include "dataplane/state/flow_clock.h"

namespace weir {

class TokenBucket {
  public:
    // Packets a second, and packets at once; full at first. Precondition: burst > 0.
    constexpr TokenBucket(std::uint32_t rate, std::uint32_t burst) noexcept
        : rate_(rate), room_(std::uint64_t{burst} * kPacket), level_(room_) {}

    // True if one more packet may pass. Time never runs backwards; a gap of 2^32 ticks (777 days) is none.
    bool take(Tick now) noexcept {
        if (now != filled_) {
            const TickCount elapsed = static_cast<std::uint32_t>(now) - static_cast<std::uint32_t>(filled_);
            level_ = std::min(room_, level_ + std::uint64_t{elapsed} * rate_);
            filled_ = now;
        }
        if (level_ < kPacket) return false;
        level_ -= kPacket;
        return true;
    }

  private:
    static constexpr std::uint64_t kPacket = kTicksPerSecond;  // a rate of n a second is n of these a tick

    std::uint32_t rate_;
    Tick filled_{};
    std::uint64_t room_, level_;
};

class PuntLimits {
  public:
    // A worker's share of the appliance's limits.
    explicit PuntLimits(std::uint32_t workers) noexcept
        : buckets_{{
#define WEIR_PUNT_BUCKET(name, rate, burst, help) share_of(rate, burst, workers),
              WEIR_PUNT_CLASSES(WEIR_PUNT_BUCKET)
#undef WEIR_PUNT_BUCKET
          }} {
    }

    // The packet is counted as taken.
    bool take(PuntClass punt_class, Tick now) noexcept {
        return buckets_[static_cast<std::size_t>(punt_class)].take(now);
    }

  private:
    static constexpr TokenBucket share_of(std::uint32_t rate, std::uint32_t burst,
                                          std::uint32_t workers) noexcept {
        return {std::max(rate / workers, 1u), std::max(burst / workers, 1u)};
    }
    std::array<TokenBucket, kPuntClasses> buckets_;
};

#define WEIR_PUNT_CHECK(name, rate, burst, help) \
    static_assert((burst)*kTicksPerSecond >= 2 * (rate), "two ticks of " #name " fit its bucket");
WEIR_PUNT_CLASSES(WEIR_PUNT_CHECK)
#undef WEIR_PUNT_CHECK

}  // namespace weir
