// Which backend a new flow gets: a pure function of the snapshot and the 5-tuple. The packet path, `weir
// explain` and the tests call this one.
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

// kNoBackend if none may get new flows.
[[nodiscard]] inline BackendId choose_backend(const PoolTable& pool, std::uint64_t selection_hash) noexcept {
    const std::uint32_t member = pool.maglev.lookup(selection_hash);
    return member == MaglevTable::kNoMember ? kNoBackend : pool.members[member];
}

}  // namespace weir
