#include "ctrl/metrics/health_metrics.h"

#include "ctrl/metrics/family_builder.h"
#include "ctrl/metrics/metrics_input.h"

namespace weir {
namespace {

using Families = std::vector<prometheus::MetricFamily>;

std::uint64_t one_if(bool condition) { return condition ? 1 : 0; }

void add_backends(const MetricsLabels& labels, const HealthMetrics& health, Families& families) {
    if (!labels.with_backend_states) return;
    FamilyBuilder states =
        FamilyBuilder::gauge("backend_state", "1 for the state that the backend is in, else 0.");
    FamilyBuilder transitions = FamilyBuilder::counter("backend_health_transitions_total",
                                                       "Changes of a backend's state, by what it became.");
    for (std::size_t i = 0; i < labels.backends.size(); ++i) {
        const MetricsLabels::Backend& backend = labels.backends[i];
        const auto changed = health.transitions.find({backend.pool, backend.name});
        for (std::size_t state = 0; state < kBackendStates; ++state) {
            states.add(
                {{"pool", backend.pool}, {"backend", backend.name}, {"state", kBackendStateNames[state]}},
                one_if(state == static_cast<std::size_t>(health.states[i])));
            transitions.add(
                {{"pool", backend.pool}, {"backend", backend.name}, {"to", kBackendStateNames[state]}},
                changed == health.transitions.end() ? 0 : changed->second[state]);
        }
    }
    states.finish(families);
    transitions.finish(families);
}

void add_pools(const MetricsLabels& labels, const HealthMetrics& health, Families& families) {
    FamilyBuilder backends = FamilyBuilder::gauge("pool_backends", "Backends of a pool, by state.");
    for (std::size_t i = 0; i < labels.pools.size(); ++i)
        for (std::size_t state = 0; state < kBackendStates; ++state)
            backends.add({{"pool", labels.pools[i].name}, {"state", kBackendStateNames[state]}},
                         std::uint64_t{health.counts[i][state]});
    backends.finish(families);
    const auto flag = [&](std::string_view name, std::string_view help, bool PoolHealth::*which) {
        FamilyBuilder family = FamilyBuilder::gauge(name, help);
        for (std::size_t i = 0; i < labels.pools.size(); ++i)
            family.add({{"pool", labels.pools[i].name}}, one_if(health.pools[i].*which));
        family.finish(families);
    };
    flag("pool_below_minimum", "1 while fewer backends are healthy than minimum_healthy allows.",
         &PoolHealth::below_minimum);
    flag("pool_fail_open", "1 while unhealthy backends get traffic because too few are healthy.",
         &PoolHealth::fails_open);
    flag("pool_spills_over", "1 while other zones' backends serve because weir's own zone has too few.",
         &PoolHealth::spills_over);
}

void add_probes(const ProberStatistics& probes, Families& families) {
    FamilyBuilder results = FamilyBuilder::counter("probes_total", "Probes ended, by result.");
    FamilyBuilder durations =
        FamilyBuilder::histogram("probe_duration_seconds", "From a probe's first packet to its result.");
    for (const auto& [pool, owner] : probes.owners) {
        for (std::size_t outcome = 0; outcome < kProbeOutcomes; ++outcome)
            results.add({{"pool", pool}, {"result", kProbeOutcomeNames[outcome]}}, owner.results[outcome]);
        durations.add({{"pool", pool}}, owner.duration);
    }
    results.finish(families);
    durations.finish(families);
    FamilyBuilder late =
        FamilyBuilder::counter("probes_late_total", "Probes begun over 50 ms after their time.");
    late.add({}, probes.late);
    late.finish(families);
    const auto single = [&](std::string_view name, std::string_view help, double value) {
        FamilyBuilder family = FamilyBuilder::gauge(name, help);
        family.add({}, value);
        family.finish(families);
    };
    single(
        "probe_interval_stretch",
        "How many times longer than configured intervals are: above 1, there is more to probe than can be.",
        probes.stretch);
    single("probes_in_flight", "Probes under way.", static_cast<double>(probes.in_flight));
    single("probe_targets", "Distinct probes, each shared by all that want it.",
           static_cast<double>(probes.targets));
}

}  // namespace

std::shared_ptr<const HealthMetrics> make_health_metrics(const MetricsLabels& labels,
                                                         const HealthMonitor& monitor,
                                                         ProberStatistics probes) {
    auto health = std::make_shared<HealthMetrics>();
    std::map<std::string_view, std::size_t> places;
    for (const MetricsLabels::Pool& pool : labels.pools) {
        places.emplace(pool.name, health->pools.size());
        const PoolHealth* shown = monitor.pool(pool.name);
        health->pools.push_back(shown != nullptr ? *shown : PoolHealth{});
        health->counts.emplace_back();
    }
    for (const MetricsLabels::Backend& backend : labels.backends) {
        // Of several the configured one, which is known by its state.
        BackendState state = BackendState::unused;
        for (const auto& [id, base] : backend.ids)
            if (const BackendStatus* status = monitor.status_of(id);
                status != nullptr &&
                (state == BackendState::unused || status->state != BackendState::draining))
                state = status->state;
        health->states.push_back(state);
        ++health->counts[places.at(backend.pool)][static_cast<std::size_t>(state)];
    }
    health->transitions = monitor.transitions();
    health->reactions = monitor.reaction_durations();
    health->probes = std::move(probes);
    return health;
}

void add_health_metrics(const MetricsLabels& labels, const HealthMetrics& health, Families& families) {
    add_backends(labels, health, families);
    add_pools(labels, health, families);
    add_probes(health.probes, families);
    FamilyBuilder reactions = FamilyBuilder::histogram(
        "health_reaction_duration_seconds",
        "From a probe's result that changes a backend's health until every worker follows it.");
    reactions.add({}, health.reactions);
    reactions.finish(families);
}

}  // namespace weir
