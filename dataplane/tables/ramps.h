// Slow start: which members of a pool get less than their share of new flows for a while, beside the pool's
// Maglev table, which does not know of it (tables/selection.h applies it).
//
// Built by the control core, immutable once published; read by any worker.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "dataplane/state/flow_clock.h"
#include "dataplane/tables/maglev_table.h"

namespace weir {

// A member's share of the flows that would be its own grows with time, from kLeastShare to all of them. Ticks
// are compared as signed differences: whoever publishes a ramp takes it back within 2^30 ticks (194 days)
// after its end.
struct Ramp {
    static constexpr std::uint32_t kLeastShare = 64;  // one in so many, so that it is never starved

    Tick start{};
    TickCount length = 0;  // 0: not ramping

    friend constexpr bool operator==(const Ramp&, const Ramp&) noexcept = default;
    // A worker may still be a moment before the start.
    [[nodiscard]] constexpr bool is_over(Tick now) const noexcept {
        return length == 0 || ticks_since(now) >= static_cast<std::int64_t>(length);
    }
    // Who does not ramp is over before everybody else.
    [[nodiscard]] constexpr bool is_over_before(const Ramp& other) const noexcept {
        return other.length != 0 && (length == 0 || is_over(other.start + (other.length - 1)));
    }
    // `chance`: evenly distributed over all 32-bit values. What is accepted once is accepted for good, so
    // that a flow that no table remembers does not move to and fro.
    [[nodiscard]] constexpr bool accepts(std::uint32_t chance, Tick now) const noexcept {
        if (is_over(now)) return true;
        const auto elapsed = static_cast<std::uint64_t>(std::max<std::int64_t>(ticks_since(now), 0));
        const std::uint64_t least = (std::uint64_t{length} << 32) / kLeastShare;
        return std::uint64_t{chance} * length < std::max(elapsed << 32, least);
    }

  private:
    [[nodiscard]] constexpr std::int64_t ticks_since(Tick now) const noexcept {
        return static_cast<std::int32_t>(static_cast<std::uint32_t>(now) - static_cast<std::uint32_t>(start));
    }
};

// Of a pool's members.
class Ramps {
  public:
    Ramps() = default;  // nobody ramps
    // By member, as many as the pool has; `table` says who has slots.
    Ramps(std::vector<Ramp> by_member, const MaglevTable& table) : by_member_(std::move(by_member)) {
        if (std::ranges::all_of(by_member_, [](const Ramp& ramp) { return ramp.length == 0; }))
            by_member_.clear();
        if (by_member_.empty()) return;
        std::vector<bool> has_slots(by_member_.size());
        for (const std::uint16_t member : table.slots())
            if (member != MaglevTable::kNoMember) has_slots[member] = true;
        bool is_first = true;
        for (std::size_t member = 0; member < by_member_.size(); ++member) {
            if (!has_slots[member]) continue;
            if (is_first || by_member_[member].is_over_before(first_over_)) first_over_ = by_member_[member];
            is_first = false;
        }
    }

    [[nodiscard]] bool empty() const noexcept { return by_member_.empty(); }
    // Precondition for both: not empty.
    [[nodiscard]] const Ramp& operator[](std::uint32_t member) const noexcept { return by_member_[member]; }
    // Everybody who has slots ramps: then nobody could take what the others refuse.
    [[nodiscard]] bool all_ramp(Tick now) const noexcept { return !first_over_.is_over(now); }

  private:
    std::vector<Ramp> by_member_;  // empty: nobody ramps, which is nearly always
    Ramp first_over_;              // of those with slots
};

}  // namespace weir
