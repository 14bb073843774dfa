#include "ctrl/tables/config_delta.h"

#include <string_view>
#include <unordered_map>

namespace weir {

ConfigDelta::ConfigDelta(const Config* previous, const Config& next) : next_(&next) {
    std::unordered_map<std::string_view, const PoolConfig*> old_pools;
    if (previous != nullptr)
        for (const PoolConfig& pool : previous->pools) old_pools.emplace(pool.name, &pool);
    for (std::size_t i = 0; i < next.pools.size(); ++i) {
        const auto old_pool = old_pools.find(next.pools[i].name);
        if (old_pool == old_pools.end() || *old_pool->second != next.pools[i]) changed_pools_.push_back(i);
        if (old_pool != old_pools.end()) old_pools.erase(old_pool);
    }
    for (const auto& [name, pool] : old_pools) removed_pools_.push_back(pool);
    services_changed_ = previous == nullptr || previous->services != next.services;
    ways_changed_ = previous == nullptr || previous->ports != next.ports ||
                    previous->neighbors != next.neighbors || previous->routes != next.routes;
}

}  // namespace weir
