// Which backend a new flow gets: a pure function of the snapshot, the 5-tuple and, while a member of the pool
// ramps (slow start), of the time. The packet path, `weir explain` and the tests call this one.
#pragma once

#include "dataplane/net/aes_hash.h"
#include "dataplane/net/family.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

// Under the cluster's key, over what the pool's `hash` says.
template <class Family>
[[nodiscard]] std::uint64_t selection_hash(const HashKey& key, const typename Family::Key& flow,
                                           SelectionInput input) noexcept {
    if (input == SelectionInput::five_tuple) return keyed_hash(key, flow);
    typename Family::Key client{};
    client.source = flow.source;
    return keyed_hash(key, client);
}

// Under the cluster's key, over the client's prefix alone.
template <class Family>
[[nodiscard]] std::uint64_t prefix_hash(const HashKey& key, const StickyRule& rule,
                                        const typename Family::Address& source) noexcept {
    typename Family::Key client{};
    client.source = rule.prefix_of(source);
    return keyed_hash(key, client);
}

// Over what the pool chooses by.
template <class Family>
[[nodiscard]] std::uint64_t selection_hash(const HashKey& key, const typename Family::Key& flow,
                                           const PoolTable& pool) noexcept {
    if (pool.sticky.is_on()) [[unlikely]]
        return prefix_hash<Family>(key, pool.sticky, flow.source);
    return selection_hash<Family>(key, flow, pool.input);
}

// A member of a pool, and the hash whose slot it has: the flow's, or one that followed it.
struct MemberChoice {
    std::uint32_t member;  // MaglevTable::kNoMember if none may get new flows
    std::uint64_t hash;
};

namespace detail {

// Of a flow's choices so many are looked at, one after the other.
inline constexpr unsigned kMostChoices = 8;

// The hash of the flow's next choice, and in its upper half the chance by which this one is accepted: the
// lower half alone finds a slot. SplitMix64 (Steele, Lea, Flood, OOPSLA'14), a bijection.
constexpr std::uint64_t following(std::uint64_t hash) noexcept {
    hash += 0x9e37'79b9'7f4a'7c15;
    hash = (hash ^ hash >> 30) * 0xbf58'476d'1ce4'e5b9;
    hash = (hash ^ hash >> 27) * 0x94d0'49bb'1331'11eb;
    return hash ^ hash >> 31;
}

// Somebody ramps. What is refused goes to the others in proportion to their slots.
[[gnu::noinline]] inline MemberChoice choose_among_ramping(const PoolTable& pool, std::uint64_t hash,
                                                           Tick now) noexcept {
    const bool all_ramp = pool.ramps.all_ramp(now);
    for (unsigned choices = 1;; ++choices) {
        const std::uint32_t member = pool.maglev.lookup(hash);
        if (member == MaglevTable::kNoMember || all_ramp || choices == kMostChoices) return {member, hash};
        const std::uint64_t next = following(hash);
        if (pool.ramps[member].accepts(static_cast<std::uint32_t>(next >> 32), now)) return {member, hash};
        hash = next;
    }
}

}  // namespace detail

[[nodiscard]] inline MemberChoice choose_member(const PoolTable& pool, std::uint64_t selection_hash,
                                                Tick now) noexcept {
    if (!pool.ramps.empty()) [[unlikely]]
        return detail::choose_among_ramping(pool, selection_hash, now);
    return {pool.maglev.lookup(selection_hash), selection_hash};
}

// kNoBackend if none may get new flows.
[[nodiscard]] inline BackendId choose_backend(const PoolTable& pool, std::uint64_t selection_hash,
                                              Tick now) noexcept {
    const std::uint32_t member = choose_member(pool, selection_hash, now).member;
    return member == MaglevTable::kNoMember ? kNoBackend : pool.members[member];
}

}  // namespace weir
