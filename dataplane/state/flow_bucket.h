// One cache line of the flow table: five entries and what the bucket knows of entries that had to go
// elsewhere. Layout and bit-packing only; the table's rules are in flow_table.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "dataplane/ids.h"
#include "dataplane/state/flow_clock.h"
#include "dataplane/state/flow_state.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace weir {

// Whose gauges an entry counts in.
struct FlowOwner {
    ServiceId service;
    BackendId backend;

    friend constexpr bool operator==(FlowOwner, FlowOwner) noexcept = default;
};

struct alignas(64) FlowBucket {
    static constexpr unsigned kSlots = 5, kAllSlots = (1u << kSlots) - 1;
    static constexpr std::uint16_t kOverflowSaturated = 0xffff;

    std::uint32_t tags[kSlots];
    // Deadline in bits 8..31, upper four bits of the backend in 4..7, state in 0..3; 0 is an empty slot. The
    // deadline on top makes the comparison of 24-bit deadlines a signed comparison of 32-bit words, and what
    // a packet changes lies in one word.
    std::uint32_t words[kSlots];
    std::uint16_t services[kSlots];
    std::uint16_t backends[kSlots];  // lower 16 bits
    // Entries that lie in their second bucket and have this one as their first.
    std::uint16_t overflow;
    std::uint8_t displaced;  // bit i: the entry in slot i is in its second bucket
    std::uint8_t unused;

    [[nodiscard]] FlowState state(unsigned slot) const noexcept { return FlowState(words[slot] & 0xf); }
    [[nodiscard]] bool is_empty(unsigned slot) const noexcept { return (words[slot] & 0xf) == 0; }
    // Bit i: slot i has an entry.
    [[nodiscard]] unsigned occupied() const noexcept {
        unsigned mask = 0;
        for (unsigned slot = 0; slot < kSlots; ++slot) mask |= unsigned{!is_empty(slot)} << slot;
        return mask;
    }
    // Bit i: slot i has an entry that is past its deadline.
    [[nodiscard]] unsigned expired(Tick now) const noexcept {
        unsigned mask = 0;
        for (unsigned slot = 0; slot < kSlots; ++slot)
            mask |= unsigned{scaled_ticks_left(slot, now) <= 0} << slot;
        return mask & occupied();
    }
    [[nodiscard]] bool is_displaced(unsigned slot) const noexcept { return (displaced >> slot & 1) != 0; }
    // Ticks until the deadline, times 256. Right while |deadline - now| < 2^23 ticks (36 h).
    [[nodiscard]] std::int32_t scaled_ticks_left(unsigned slot, Tick now) const noexcept {
        return static_cast<std::int32_t>((words[slot] & kDeadlineMask) -
                                         (static_cast<std::uint32_t>(now) << kDeadlineShift));
    }
    // Empty slots are not live either.
    [[nodiscard]] bool is_live(unsigned slot, Tick now) const noexcept {
        return !is_empty(slot) && scaled_ticks_left(slot, now) > 0;
    }
    [[nodiscard]] FlowOwner owner(unsigned slot) const noexcept {
        const std::uint32_t upper = words[slot] >> 4 & 0xf;
        return {ServiceId{services[slot]}, BackendId{upper << 16 | backends[slot]}};
    }

    void set_owner(unsigned slot, FlowOwner owner) noexcept {
        services[slot] = index(owner.service);
        backends[slot] = static_cast<std::uint16_t>(index(owner.backend));
        words[slot] = (words[slot] & ~std::uint32_t{0xf0}) | (index(owner.backend) >> 16 & 0xf) << 4;
    }
    // A whole entry but for its tag and place.
    void set(unsigned slot, FlowOwner owner, FlowState state, Tick deadline) noexcept {
        services[slot] = index(owner.service);
        backends[slot] = static_cast<std::uint16_t>(index(owner.backend));
        words[slot] = static_cast<std::uint32_t>(deadline) << kDeadlineShift |
                      (index(owner.backend) >> 16 & 0xf) << 4 | static_cast<std::uint32_t>(state);
    }
    void set_state(unsigned slot, FlowState state, Tick deadline) noexcept {
        words[slot] = (words[slot] & 0xf0) | static_cast<std::uint32_t>(deadline) << kDeadlineShift |
                      static_cast<std::uint32_t>(state);
    }
    void set_displaced(unsigned slot, bool value) noexcept {
        displaced = static_cast<std::uint8_t>((displaced & ~(1u << slot)) | unsigned{value} << slot);
    }

    static constexpr unsigned kDeadlineShift = FlowTimeout::kScale;
    static constexpr std::uint32_t kDeadlineMask = 0xffff'ff00;
};
static_assert(sizeof(FlowBucket) == 64 && alignof(FlowBucket) == 64);
static_assert(offsetof(FlowBucket, tags) == 0 && offsetof(FlowBucket, overflow) == 60);
static_assert(std::is_trivially_copyable_v<FlowBucket> &&
              std::is_trivially_default_constructible_v<FlowBucket>);
static_assert(kFlowStates <= 16 && kMaxBackends < 1u << 20);

// Bit i: slot i has the tag. Empty slots too: the caller looks at what it finds.
[[nodiscard]] inline unsigned match_tags_portable(const FlowBucket& bucket, std::uint32_t tag) noexcept {
    unsigned mask = 0;
    for (unsigned slot = 0; slot < FlowBucket::kSlots; ++slot)
        mask |= unsigned{bucket.tags[slot] == tag} << slot;
    return mask;
}

#if defined(__AVX2__)
// Eight words at once: the tags, and three behind them that do not count.
[[nodiscard]] inline unsigned match_tags(const FlowBucket& bucket, std::uint32_t tag) noexcept {
    const __m256i wanted = _mm256_set1_epi32(static_cast<int>(tag));
    const __m256i eight = _mm256_load_si256(reinterpret_cast<const __m256i*>(&bucket));
    const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(eight, wanted)));
    return static_cast<unsigned>(mask) & FlowBucket::kAllSlots;
}
#elif defined(__SSE2__)
[[nodiscard]] inline unsigned match_tags(const FlowBucket& bucket, std::uint32_t tag) noexcept {
    const __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
    const __m128i four = _mm_load_si128(reinterpret_cast<const __m128i*>(bucket.tags));
    const int mask = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(four, wanted)));
    return static_cast<unsigned>(mask) | unsigned{bucket.tags[4] == tag} << 4;
}
#else
[[nodiscard]] inline unsigned match_tags(const FlowBucket& bucket, std::uint32_t tag) noexcept {
    return match_tags_portable(bucket, tag);
}
#endif

}  // namespace weir
