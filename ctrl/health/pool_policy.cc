#include "ctrl/health/pool_policy.h"

#include <algorithm>

namespace weir {
namespace {

bool is_healthy(const PoolMember& member) {
    return !member.has_check || member.verdict == HealthVerdict::healthy;
}
bool counts(const PoolMember& member) { return member.has_weight && !member.drained; }

// Whether the healthy members of a zone, or of all of them, are enough.
bool is_enough(std::span<const PoolMember> members, const PoolPolicy& policy, bool near_only) {
    std::uint64_t counted = 0, healthy = 0;
    for (const PoolMember& member : members) {
        if (!counts(member) || (near_only && !member.is_near)) continue;
        ++counted;
        healthy += is_healthy(member) ? 1 : 0;
    }
    return healthy >= policy.count && healthy * 100 >= std::uint64_t{policy.percentage} * counted;
}

// What becomes of the known flows of a member that is not eligible. Dead is dead, whether the operator has
// taken it out too; but nobody counts as dead while the pool fails open.
TrafficState known_flows_of(const PoolMember& member, bool fails_open) {
    if (member.cuts_flows) return TrafficState::cut;
    if (fails_open || is_healthy(member)) return TrafficState::draining;       // drained, or in another zone
    if (member.verdict == HealthVerdict::none) return TrafficState::draining;  // nobody has called it dead
    return member.keeps_flows ? TrafficState::draining : TrafficState::absent;
}

}  // namespace

PoolPolicy policy_of(const PoolConfig& pool) {
    return {pool.minimum_healthy.count, pool.minimum_healthy.percentage, pool.minimum_healthy.action,
            pool.cross_zone};
}

PoolTraffic judge_pool(std::span<const PoolMember> members, const PoolPolicy& policy) {
    PoolTraffic traffic;
    const bool near_enough = !policy.cross_zone && is_enough(members, policy, true);
    const bool enough = near_enough || is_enough(members, policy, false);
    const bool has_any = std::ranges::any_of(members, counts);
    traffic.spills_over = !policy.cross_zone && !near_enough;
    traffic.below_minimum = has_any && !enough;
    traffic.fails_open = traffic.below_minimum && policy.action == BelowMinimum::fail_open;
    traffic.withdrawn = !enough && policy.action == BelowMinimum::withdraw;
    const bool drops = traffic.below_minimum && policy.action == BelowMinimum::drop;
    for (const PoolMember& member : members) {
        const bool is_candidate = !near_enough || member.is_near;
        const bool healthy = is_healthy(member) || traffic.fails_open;
        MemberTraffic& one = traffic.members.emplace_back();
        one.eligible = !member.drained && healthy && is_candidate && !drops;
        if (one.eligible) continue;
        one.known = drops && !member.drained && healthy ? TrafficState::draining
                                                        : known_flows_of(member, traffic.fails_open);
    }
    return traffic;
}

}  // namespace weir
