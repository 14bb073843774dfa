#include "ctrl/tables/pool_delta.h"

#include <string_view>
#include <unordered_map>

namespace weir {

PoolDelta::PoolDelta(const Config* previous, const Config& next)
    : next_(&next), unchanged_(next.pools.size(), false) {
    if (previous == nullptr) return;
    std::unordered_map<std::string_view, const PoolConfig*> old_pools;
    for (const PoolConfig& pool : previous->pools) old_pools.emplace(pool.name, &pool);
    for (std::size_t i = 0; i < next.pools.size(); ++i) {
        const auto old_pool = old_pools.find(next.pools[i].name);
        if (old_pool == old_pools.end()) continue;
        unchanged_[i] = *old_pool->second == next.pools[i];
        old_pools.erase(old_pool);
    }
    for (const auto& [name, pool] : old_pools) removed_.push_back(pool);
}

}  // namespace weir
