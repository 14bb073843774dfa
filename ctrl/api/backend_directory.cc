#include "ctrl/api/backend_directory.h"

#include <set>
#include <string_view>
#include <unordered_map>

#include "ctrl/backend_state.h"
#include "ctrl/tables/sweep_view.h"

namespace weir {
namespace {

struct Words {
    std::string_view state, reason, description;
};

Words words_of(const BackendConfig* config, IdPhase phase, bool pool_is_used, std::uint64_t flows) {
    const BackendStatus status = backend_status(phase, pool_is_used);
    if (phase == IdPhase::draining)
        return {name_of(status.state), status.reason, "removed; known flows go on, it gets no new ones"};
    if (config->drained && flows != 0)
        return {name_of(BackendState::draining), "Target.DeregistrationInProgress",
                "drained; known flows go on, it gets no new ones"};
    if (config->drained)
        return {name_of(BackendState::unused), "Target.InvalidState",
                "drained; weirctl backend enable takes it back"};
    if (!pool_is_used) return {name_of(status.state), status.reason, "no service uses its pool"};
    return {name_of(status.state), status.reason, "no health check; it gets traffic"};
}

BackendRow row_of(const PoolConfig& pool, const IdRegistry::Backend& backend, const BackendConfig* config,
                  bool pool_is_used, std::uint64_t flows) {
    BackendRow row{
        .pool = pool.name, .name = backend.name, .address = backend.address, .active_flows = flows};
    if (config != nullptr) {
        row.port = config->port;
        row.zone = config->zone;
        row.weight = config->weight;
    }
    const Words words = words_of(config, backend.phase, pool_is_used, flows);
    row.state = words.state;
    row.reason = words.reason;
    row.description = words.description;
    return row;
}

}  // namespace

std::vector<BackendRow> registered_backends(const World& world) {
    const Config& config = *world.config();
    const SweepView workers(world.workers());
    std::set<std::string_view> used;
    for (const ServiceConfig& service : config.services) used.insert(service.pool);
    std::vector<BackendRow> rows;
    for (const PoolConfig& pool : config.pools) {
        std::unordered_map<std::string_view, const BackendConfig*> by_name;
        for (const BackendConfig& backend : pool.backends) by_name.emplace(backend.name, &backend);
        for (const IdRegistry::Backend& backend : world.ids().find_pool(pool.name)->backends) {
            if (backend.phase == IdPhase::gone) continue;
            const BackendConfig* configured =
                backend.phase == IdPhase::serving ? by_name.find(backend.name)->second : nullptr;
            rows.push_back(row_of(pool, backend, configured, used.contains(pool.name),
                                  workers.active_flows(backend.id)));
        }
    }
    return rows;
}

}  // namespace weir
