// Room for a new entry in a bucket of the flow table: which slot is easiest to have. Which bucket is tried,
// and when an unconfirmed entry has to go, are the table's rules (flow_table.h).
//
// Without a branch: in a table under attack no slot's state can be predicted.
#pragma once

#include <cstdint>

#include "dataplane/state/flow_bucket.h"

namespace weir {

// The easiest slot of a bucket in one number, less is better: 0 empty, 8 expired, the scaled time that an
// unconfirmed entry has left, none; and in the low three bits the slot. Of expired entries those in their
// first bucket come first: to remove another costs the line of that. Of unconfirmed ones those in their
// second: a flood then soon leaves no entry away from home, and a packet of a new flow need not be looked for
// in two lines.
struct FlowRoom {
    std::uint32_t cost;
    static constexpr std::uint32_t kExpired = 8, kExpiredDisplaced = 16, kLive = 256;
    static constexpr std::uint32_t kLiveAtHome = 0x8000'0000, kNone = 0xffff'ffff;

    [[nodiscard]] unsigned slot() const noexcept { return cost & 7; }
    [[nodiscard]] bool is_free() const noexcept { return cost < kLive; }  // empty or expired
    [[nodiscard]] bool is_empty() const noexcept { return cost < kExpired; }
    [[nodiscard]] bool is_unconfirmed() const noexcept { return cost >= kLive && cost != kNone; }
    // Some slot can be had.
    [[nodiscard]] bool is_any() const noexcept { return cost != kNone; }
};

// room_in: the easiest slot. has_room: there is any. The `_portable` twin is what both mean.
[[nodiscard]] inline FlowRoom room_in_portable(const FlowBucket& bucket, Tick now) noexcept {
    std::uint32_t best = FlowRoom::kNone;
    for (std::uint32_t slot = 0; slot < FlowBucket::kSlots; ++slot) {
        const std::int32_t left = bucket.scaled_ticks_left(slot, now);
        const bool displaced = bucket.is_displaced(slot);
        const std::uint32_t unconfirmed =
            static_cast<std::uint32_t>(left) | (displaced ? 0 : FlowRoom::kLiveAtHome);
        const std::uint32_t expired = displaced ? FlowRoom::kExpiredDisplaced : FlowRoom::kExpired;
        std::uint32_t cost = left > 0 ? unconfirmed | slot : expired | slot;
        cost = left > 0 && is_confirmed(bucket.state(slot)) ? FlowRoom::kNone : cost;
        cost = bucket.is_empty(slot) ? slot : cost;
        best = cost < best ? cost : best;
    }
    return {best};
}

#if defined(__AVX2__)
namespace detail {

// All slots at once: the five words of a bucket, and three behind them that do not count.
class FlowLanes {
  public:
    FlowLanes(const FlowBucket& bucket, Tick now) noexcept {
        const auto* words = reinterpret_cast<const std::byte*>(&bucket) + offsetof(FlowBucket, words);
        const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
        left = _mm256_sub_epi32(_mm256_and_si256(all, every(FlowBucket::kDeadlineMask)),
                                every(static_cast<std::uint32_t>(now) << FlowBucket::kDeadlineShift));
        live = _mm256_cmpgt_epi32(left, _mm256_setzero_si256());
        state = _mm256_and_si256(all, every(0xf));
        confirmed = _mm256_sllv_epi32(every(kConfirmedFromTop), state);
    }
    static __m256i every(std::uint32_t value) noexcept { return _mm256_set1_epi32(static_cast<int>(value)); }

    __m256i left;       // scaled ticks
    __m256i live;       // every bit, or none
    __m256i state;      // FlowState
    __m256i confirmed;  // the sign bit
};

}  // namespace detail

[[nodiscard]] inline FlowRoom room_in(const FlowBucket& bucket, Tick now) noexcept {
    const detail::FlowLanes lanes(bucket, now);
    const auto every = detail::FlowLanes::every;
    const __m256i zero = _mm256_setzero_si256();
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 0, 0, 0);
    const __m256i at_home = _mm256_cmpeq_epi32(_mm256_and_si256(every(bucket.displaced), bits), zero);

    const __m256i expired =
        _mm256_blendv_epi8(every(FlowRoom::kExpiredDisplaced), every(FlowRoom::kExpired), at_home);
    const __m256i unconfirmed =
        _mm256_or_si256(lanes.left, _mm256_and_si256(at_home, every(FlowRoom::kLiveAtHome)));
    const __m256i of_live = _mm256_or_si256(unconfirmed, _mm256_srai_epi32(lanes.confirmed, 31));
    __m256i cost = _mm256_blendv_epi8(expired, of_live, lanes.live);
    cost = _mm256_andnot_si256(_mm256_cmpeq_epi32(lanes.state, zero), cost);
    cost = _mm256_or_si256(cost, _mm256_setr_epi32(0, 1, 2, 3, 4, -1, -1, -1));  // -1 is also "no room"
    __m128i least = _mm_min_epu32(_mm256_castsi256_si128(cost), _mm256_extracti128_si256(cost, 1));
    least = _mm_min_epu32(least, _mm_shuffle_epi32(least, 0b01'00'11'10));
    least = _mm_min_epu32(least, _mm_shuffle_epi32(least, 0b10'11'00'01));
    return {static_cast<std::uint32_t>(_mm_cvtsi128_si32(least))};
}

[[nodiscard]] inline bool has_room(const FlowBucket& bucket, Tick now) noexcept {
    const detail::FlowLanes lanes(bucket, now);
    const __m256i taken = _mm256_and_si256(lanes.live, lanes.confirmed);
    const auto mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(taken)));
    return (mask & FlowBucket::kAllSlots) != FlowBucket::kAllSlots;
}
#else
[[nodiscard]] inline FlowRoom room_in(const FlowBucket& bucket, Tick now) noexcept {
    return room_in_portable(bucket, now);
}
[[nodiscard]] inline bool has_room(const FlowBucket& bucket, Tick now) noexcept {
    return room_in_portable(bucket, now).is_any();
}
#endif

}  // namespace weir
