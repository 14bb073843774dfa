#include "ctrl/offline_world.h"

#include <algorithm>
#include <cstdio>

#include "ctrl/config/hash_key_file.h"
#include "ctrl/config/read_config.h"
#include "ctrl/tables/port_facts.h"
#include "dataplane/net/address_text.h"

namespace weir {

namespace {

// The cluster's selection key if its file is there, else the zero key.
Result<HashKey> selection_key(const Config& config, std::vector<std::string>& assumptions) {
    const std::string& file = config.dataplane.hash_key_file;
    if (file.empty()) {
        assumptions.push_back(
            "dataplane.hash_key_file is not set: backends are selected with the zero key, as in run");
        return HashKey::zero();
    }
    auto key = load_hash_key(file);
    if (!key) return tl::make_unexpected(key.error());
    if (*key) {
        if (!(*key)->warning.empty()) assumptions.push_back((*key)->warning);
        return HashKey((*key)->secret);
    }
    assumptions.push_back(
        file + " does not exist: backends are selected with the zero key; run will create a random one");
    return HashKey::zero();
}

// Ids of "POOL/NAME".
Result<std::vector<BackendId>> find_backends(const IdRegistry& ids, const std::vector<std::string>& names) {
    std::vector<BackendId> found;
    for (const std::string& name : names) {
        const auto slash = name.find('/');
        const IdRegistry::Pool* pool =
            slash == std::string::npos ? nullptr : ids.find_pool(name.substr(0, slash));
        if (pool == nullptr)
            return operator_error("--down " + name + ": write POOL/NAME of a configured backend");
        const auto backend = std::find_if(pool->backends.begin(), pool->backends.end(),
                                          [&](const auto& b) { return b.name == name.substr(slash + 1); });
        if (backend == pool->backends.end())
            return operator_error("--down " + name + ": pool \"" + name.substr(0, slash) +
                                  "\" has no such backend");
        found.push_back(backend->id);
    }
    return found;
}

void note_next_hops(OfflineWorld& world) {
    const NextHopRemarks remarks = remark_next_hops(world.compiled, world.config);
    for (const auto& derived : remarks.derived)
        world.assumptions.push_back("no neighbor entry for " + to_text(derived.address) +
                                    ": it gets the MAC " + to_text(derived.mac) + " on port \"" +
                                    world.config.ports[index(derived.port)].name + "\"");
    world.assumptions.insert(world.assumptions.end(), remarks.unresolved.begin(), remarks.unresolved.end());
}

}  // namespace

Result<Config> read_offline_config(const std::string& config_file) {
    ConfigResult read = read_config(config_file);
    std::string errors;
    for (const Diagnostic& diagnostic : read.diagnostics) {
        if (diagnostic.severity == Diagnostic::Severity::warning)
            std::fprintf(stderr, "%s\n", diagnostic.text().c_str());
        else
            errors += (errors.empty() ? "" : "\n") + diagnostic.text();
    }
    if (!read.config) return operator_error(errors);
    return std::move(*read.config);
}

Result<std::unique_ptr<OfflineWorld>> make_offline_world(const std::string& config_file,
                                                         const std::vector<std::string>& down) {
    auto config = read_offline_config(config_file);
    if (!config) return tl::make_unexpected(config.error());
    std::vector<std::string> assumptions;
    const auto key = selection_key(*config, assumptions);
    if (!key) return tl::make_unexpected(key.error());

    auto world = std::make_unique<OfflineWorld>(*key);
    world->config = std::move(*config);
    world->assumptions = std::move(assumptions);
    const std::vector<PortFacts> ports = offline_port_facts(world->config, world->assumptions);
    const ConfigDelta delta(nullptr, world->config);
    if (const auto assigned = world->ids.assign(delta, 1); !assigned)
        return tl::make_unexpected(assigned.error());
    auto dead = find_backends(world->ids, down);
    if (!dead) return tl::make_unexpected(dead.error());
    world->down = std::move(*dead);
    TrafficPlan traffic;
    for (const BackendId id : world->down) traffic.set(id, false);
    world->snapshot = compile_snapshot(
        {.delta = delta, .ids = world->ids, .ports = ports, .traffic = traffic}, world->compiled);
    note_next_hops(*world);
    return world;
}

}  // namespace weir
