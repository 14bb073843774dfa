#include <map>

#include "ctrl/metrics/metrics_input.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

void add_pool(const World& world, const PoolConfig& config, MetricsLabels& labels) {
    std::map<std::string_view, std::size_t> places;  // a name once, whatever its addresses
    for (const IdRegistry::Backend& backend : world.ids().find_pool(config.name)->backends) {
        if (backend.phase == IdPhase::gone) continue;
        const auto [place, is_new] = places.try_emplace(backend.name, labels.backends.size());
        if (is_new) labels.backends.push_back({config.name, backend.name, {}});
        labels.backends[place->second].ids.emplace_back(backend.id, world.counter_bases().of(backend.id));
    }
    labels.pools.push_back({config.name});
}

}  // namespace

std::shared_ptr<const MetricsLabels> make_metrics_labels(const World& world) {
    const Config& config = *world.config();
    auto labels = std::make_shared<MetricsLabels>();
    labels->named_generation = world.named_generation();
    for (const ServiceConfig& service : config.services) {
        const ServiceId id = world.ids().service_id(service.name, service.vip);
        labels->services.push_back({service.name, id, world.counter_bases().of(id)});
    }
    for (const PoolConfig& pool : config.pools) add_pool(world, pool, *labels);
    for (const PortConfig& port : config.ports)  // as compile numbers them
        for (const IpAddress& address : port.snat.addresses)
            labels->snat_addresses.push_back(to_text(address));
    labels->with_backend_states = labels->backends.size() <= kMaxDetailedBackends ||
                                  (config.metrics.has_value() && config.metrics->full_detail);
    return labels;
}

}  // namespace weir
