// What a pool does with the health of its members: who gets new flows, and what becomes of known ones. A pure
// function of the members and the pool's settings.
//
// Theory of operation. A member counts as healthy if its verdict is, or if it has no check. Candidates are
// the members in weir's own zone (cross_zone = true: all). If they are fewer than minimum_healthy allows, the
// candidates are those of all zones ("spill over"). If those are too few as well, the pool is below its
// minimum and does what `action` says:
//
//   fail_open  every registered member counts as healthy, but those that are drained
//   drop       no new flows at all; known flows of healthy members stay
//   withdraw   the healthy members serve what still comes; the VIPs that have only such pools are withdrawn
//
// The minimum: at least `count`, and at least `percentage` per cent of the members of weight > 0 that are not
// drained. A member of weight 0 is never counted: it gets no new flow anyway.
//
// The control thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/health/health.h"
#include "ctrl/tables/member_traffic.h"

namespace weir {

struct PoolMember {
    HealthVerdict verdict = HealthVerdict::none;
    bool has_check = true;
    bool drained = false;      // by the operator
    bool has_weight = true;    // > 0
    bool is_near = true;       // in weir's zone
    bool keeps_flows = false;  // unhealthy, and its pool lets it keep its flows
    bool cuts_flows = false;   // its flows end: the drain's deadline has passed; unhealthy, with `reset`
};

struct PoolPolicy {
    unsigned count = 1, percentage = 0;
    BelowMinimum action = BelowMinimum::fail_open;
    bool cross_zone = true;
};

struct PoolTraffic {
    std::vector<MemberTraffic> members;  // as given
    bool below_minimum = false, fails_open = false, spills_over = false, withdrawn = false;
};

[[nodiscard]] PoolPolicy policy_of(const PoolConfig& pool);
[[nodiscard]] PoolTraffic judge_pool(std::span<const PoolMember> members, const PoolPolicy& policy);

}  // namespace weir
