#include "ctrl/changes/backend_index.h"

namespace weir {

BackendIndex::BackendIndex(const Config& config) : config_(config) {
    for (std::size_t place = 0; place < config.pools.size(); ++place) {
        const PoolConfig& pool = config.pools[place];
        Pool& entry = pools_[pool.name];
        entry.place = place;
        entry.backends.reserve(pool.backends.size());
        for (std::size_t i = 0; i < pool.backends.size(); ++i)
            entry.backends.emplace(pool.backends[i].name, i);
    }
}

const BackendConfig* BackendIndex::find(const BackendKey& key) const {
    const auto pool = pools_.find(key.pool);
    if (pool == pools_.end()) return nullptr;
    const auto backend = pool->second.backends.find(key.name);
    return backend == pool->second.backends.end()
               ? nullptr
               : &config_.pools[pool->second.place].backends[backend->second];
}

std::size_t BackendIndex::place(const BackendKey& key) const {
    return pools_.find(key.pool)->second.backends.find(key.name)->second;
}

}  // namespace weir
