#include <map>
#include <set>

#include "ctrl/metrics/metrics_input.h"

namespace weir {
namespace {

void add_pool(const World& world, const PoolConfig& config, bool is_used, MetricsLabels& labels) {
    MetricsLabels::Pool pool{config.name, {}};
    std::map<std::string_view, std::size_t> places;  // a name once, whatever its addresses
    for (const IdRegistry::Backend& backend : world.ids().find_pool(config.name)->backends) {
        if (backend.phase == IdPhase::gone) continue;
        const BackendState state = backend_status(backend.phase, is_used).state;
        const auto [place, is_new] = places.try_emplace(backend.name, labels.backends.size());
        if (is_new) labels.backends.push_back({config.name, backend.name, state, {}});
        MetricsLabels::Backend& entry = labels.backends[place->second];
        if (backend.phase == IdPhase::serving) entry.state = state;
        entry.ids.emplace_back(backend.id, world.counter_bases().of(backend.id));
    }
    for (const auto& [name, place] : places)
        ++pool.backends[static_cast<std::size_t>(labels.backends[place].state)];
    labels.pools.push_back(std::move(pool));
}

}  // namespace

std::shared_ptr<const MetricsLabels> make_metrics_labels(const World& world) {
    const Config& config = *world.config();
    auto labels = std::make_shared<MetricsLabels>();
    labels->named_generation = world.named_generation();
    std::set<std::string_view> used_pools;
    for (const ServiceConfig& service : config.services) {
        const ServiceId id = world.ids().service_id(service.name, service.vip);
        labels->services.push_back({service.name, id, world.counter_bases().of(id)});
        used_pools.insert(service.pool);
    }
    for (const PoolConfig& pool : config.pools)
        add_pool(world, pool, used_pools.contains(pool.name), *labels);
    labels->with_backend_states = labels->backends.size() <= kMaxDetailedBackends ||
                                  (config.metrics.has_value() && config.metrics->full_detail);
    return labels;
}

}  // namespace weir
