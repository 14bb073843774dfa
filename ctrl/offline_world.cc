#include "ctrl/offline_world.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <span>
#include <string_view>

#include "ctrl/config/hash_key_file.h"
#include "ctrl/config/read_config.h"
#include "ctrl/config/setting_text.h"
#include "ctrl/health/pool_policy.h"
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

// A backend that counts as dead for a time.
struct Outage {
    BackendId id;
    Duration from{0}, to = Duration::max();
};

Result<BackendId> find_backend(const IdRegistry& ids, const std::string& text, std::string_view name) {
    const auto slash = name.find('/');
    const IdRegistry::Pool* pool =
        slash == std::string::npos ? nullptr : ids.find_pool(std::string(name.substr(0, slash)));
    if (pool == nullptr)
        return operator_error("--down " + text +
                              ": write POOL/NAME of a configured backend, or POOL/NAME@FROM-TO");
    const auto backend = std::find_if(pool->backends.begin(), pool->backends.end(),
                                      [&](const auto& b) { return b.name == name.substr(slash + 1); });
    if (backend == pool->backends.end())
        return operator_error("--down " + text + ": pool \"" + std::string(name.substr(0, slash)) +
                              "\" has no such backend");
    return backend->id;
}

// "POOL/NAME" or "POOL/NAME@FROM-TO": a name has no '@', a time no '-'.
Result<Outage> parse_outage(const IdRegistry& ids, const std::string& text) {
    const auto at = text.find('@');
    const auto id = find_backend(ids, text, std::string_view(text).substr(0, at));
    if (!id) return tl::make_unexpected(id.error());
    Outage outage{.id = *id};
    if (at == std::string::npos) return outage;
    const auto dash = text.find('-', at);
    const auto from = parse_duration(std::string_view(text).substr(at + 1, dash - at - 1));
    const auto to = parse_duration(dash == std::string::npos ? std::string_view()
                                                             : std::string_view(text).substr(dash + 1));
    if (!from || !to || *from >= *to)
        return operator_error("--down " + text +
                              ": write POOL/NAME@FROM-TO with times after the first packet such as 0s-90s, "
                              "FROM before TO");
    outage.from = *from;
    outage.to = *to;
    return outage;
}

Result<std::vector<Outage>> parse_outages(const IdRegistry& ids, const std::vector<std::string>& down) {
    std::vector<Outage> outages;
    for (const std::string& text : down) {
        const auto outage = parse_outage(ids, text);
        if (!outage) return tl::make_unexpected(outage.error());
        outages.push_back(*outage);
    }
    return outages;
}

// As health would have it: who is not down counts as healthy (pool_policy.h).
void judge_pools(const Config& config, const IdRegistry& ids, const std::vector<BackendId>& down,
                 TrafficPlan& traffic) {
    for (const PoolConfig& pool : config.pools) {
        std::map<std::string_view, const BackendConfig*> by_name;
        for (const BackendConfig& backend : pool.backends) by_name.emplace(backend.name, &backend);
        std::vector<BackendId> members;
        std::vector<PoolMember> judged;
        for (const IdRegistry::Backend& known : ids.find_pool(pool.name)->backends) {
            const BackendConfig* const backend = by_name.at(known.name);
            const bool is_down = std::ranges::find(down, known.id) != down.end();
            members.push_back(known.id);
            judged.push_back({.verdict = is_down ? HealthVerdict::unhealthy : HealthVerdict::healthy,
                              .has_weight = backend->weight != 0,
                              .is_near = backend->zone == config.zone,
                              .keeps_flows = is_down && pool.unhealthy_flows == UnhealthyFlows::keep,
                              .cuts_flows = is_down && pool.unhealthy_flows == UnhealthyFlows::reset});
        }
        const PoolTraffic got = judge_pool(judged, policy_of(pool));
        for (std::size_t i = 0; i < members.size(); ++i) traffic.set(members[i], got.members[i]);
    }
}

// A snapshot for each time at which a backend goes or comes back. `first` compiles the configuration.
void compile_stages(const std::vector<Outage>& outages, const ConfigDelta& first,
                    std::span<const PortFacts> ports, OfflineWorld& world) {
    std::set<Duration> times = {Duration(0)};
    for (const Outage& outage : outages) {
        times.insert(outage.from);
        if (outage.to != Duration::max()) times.insert(outage.to);
    }
    TrafficPlan traffic;
    const ConfigDelta later = ConfigDelta::none(world.config);
    for (const Duration time : times) {
        OfflineWorld::Stage stage{.from = time, .snapshot = nullptr, .down = {}};
        for (const Outage& outage : outages)
            if (outage.from <= time && time < outage.to) stage.down.push_back(outage.id);
        judge_pools(world.config, world.ids, stage.down, traffic);
        const bool is_first = world.stages.empty();
        stage.snapshot =
            compile_snapshot({.delta = is_first ? first : later,
                              .ids = world.ids,
                              .ports = ports,
                              .traffic = traffic,
                              .generation = world.stages.size() + 1,
                              .workers = static_cast<std::uint16_t>(world.config.dataplane.workers)},
                             world.compiled);
        traffic.forget_changes();
        world.stages.push_back(std::move(stage));
    }
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
                                                         const std::vector<std::string>& down,
                                                         unsigned workers) {
    auto config = read_offline_config(config_file);
    if (!config) return tl::make_unexpected(config.error());
    std::vector<std::string> assumptions;
    const auto key = selection_key(*config, assumptions);
    if (!key) return tl::make_unexpected(key.error());

    auto world = std::make_unique<OfflineWorld>(*key);
    world->config = std::move(*config);
    if (workers != 0) world->config.dataplane.workers = workers;
    world->assumptions = std::move(assumptions);
    const std::vector<PortFacts> ports = offline_port_facts(world->config, world->assumptions);
    const ConfigDelta delta(nullptr, world->config);
    if (const auto assigned = world->ids.assign(delta, 1); !assigned)
        return tl::make_unexpected(assigned.error());
    const auto outages = parse_outages(world->ids, down);
    if (!outages) return tl::make_unexpected(outages.error());
    compile_stages(*outages, delta, ports, *world);
    note_next_hops(*world);
    return world;
}

}  // namespace weir
