#include "ctrl/replay_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dataplane/net/address_text.h"

namespace weir {

namespace {

using Json = nlohmann::ordered_json;
using Workers = std::span<WorkerCounters* const>;

std::uint64_t sum(Workers workers, auto&& counter) {
    std::uint64_t total = 0;
    for (const WorkerCounters* worker : workers) total += counter(*worker).value();
    return total;
}

Json dropped_by_reason(Workers workers) {
    Json dropped = Json::object();
    for (std::size_t r = 0; r < kDropReasons; ++r)
        dropped[std::string(kDropReasonNames[r])] = sum(
            workers, [r](auto& w) -> auto& { return w.dropped[r]; });
    return dropped;
}

std::uint64_t sum_originated(Workers workers) {
    std::uint64_t total = 0;
    for (std::size_t kind = 0; kind < kOriginatedKinds; ++kind)
        total += sum(
            workers, [kind](auto& w) -> auto& { return w.originated[kind]; });
    return total;
}

// What `counter` counts by punt class; classes with nothing are left out.
Json by_punt_class(Workers workers, auto&& counter) {
    Json json = Json::object();
    for (std::size_t c = 0; c < kPuntClasses; ++c) {
        const std::uint64_t count = sum(
            workers, [&](auto& w) -> auto& { return counter(w)[c]; });
        if (count != 0) json[std::string(kPuntClassNames[c])] = count;
    }
    return json;
}

// The counters that services and backends have in common.
template <class At>
void add_traffic(Json& json, Workers workers, At&& at) {
    json["packets"] = sum(
        workers, [&](auto& w) -> auto& { return at(w).packets; });
    json["bytes"] = sum(
        workers, [&](auto& w) -> auto& { return at(w).bytes; });
    json["new_flows"] = sum(
        workers, [&](auto& w) -> auto& { return at(w).new_flows; });
    json["active_flows"] = sum(
        workers, [&](auto& w) -> auto& { return at(w).active_flows; });
}

Json services_of(const OfflineWorld& world, Workers workers) {
    Json list = Json::array();
    for (const ServiceConfig& service : world.config.services) {
        const auto at = [id = world.ids.service_id(service.name, service.vip)](
                            const WorkerCounters& w) -> ServiceCounters& { return w.services[index(id)]; };
        Json json = {{"name", service.name}, {"vip", to_text(service.vip)}, {"pool", service.pool}};
        add_traffic(json, workers, at);
        for (std::size_t r = 0; r < kServiceDropReasons; ++r)
            json["dropped"]
                [std::string(kDropReasonNames[static_cast<std::size_t>(kFirstServiceReason) + r])] = sum(
                    workers, [&](auto& w) -> auto& { return at(w).dropped[r]; });
        list.push_back(std::move(json));
    }
    return list;
}

Json pools_of(const OfflineWorld& world) {
    Json list = Json::array();
    for (const PoolConfig& pool : world.config.pools) {
        const MaglevTable& table = world.snapshot().pools[index(world.ids.find_pool(pool.name)->id)]->maglev;
        list.push_back({{"name", pool.name},
                        {"backends", pool.backends.size()},
                        {"slots", table.slots().size()},
                        {"checksum", fmt::format("{:016x}", table.checksum())}});
    }
    return list;
}

// State and reason in the words of AWS ELB (DESIGN.md section 9). There are no probes yet: a backend counts
// as healthy unless
// --down says otherwise.
void add_state(Json& json, const OfflineWorld& world, BackendId id) {
    const bool down = std::ranges::find(world.down(), id) != world.down().end();
    json["state"] = down ? "unhealthy" : "unavailable";
    json["reason"] = down ? "Target.FailedHealthChecks" : "Target.HealthCheckDisabled";
    json["description"] = down ? "given by --down" : "no probes: counts as healthy";
}

Json backends_of(const OfflineWorld& world, Workers workers) {
    Json list = Json::array();
    for (const PoolConfig& pool : world.config.pools) {
        const IdRegistry::Pool& known = *world.ids.find_pool(pool.name);
        for (const BackendConfig& backend : pool.backends) {
            const BackendId id =
                std::find_if(known.backends.begin(), known.backends.end(), [&](const auto& b) {
                    return b.name == backend.name;
                })->id;
            Json json = {{"pool", pool.name},
                         {"name", backend.name},
                         {"address", to_text(backend.address)},
                         {"port", backend.port ? Json(*backend.port) : Json(nullptr)},
                         {"zone", backend.zone},
                         {"weight", backend.weight}};
            add_state(json, world, id);
            add_traffic(json, workers,
                        [id](const WorkerCounters& w) -> BackendCounters& { return w.backends[index(id)]; });
            list.push_back(std::move(json));
        }
    }
    return list;
}

Json workers_of(Workers workers) {
    Json list = Json::array();
    for (std::size_t i = 0; i < workers.size(); ++i) {
        const WorkerCounters& w = *workers[i];
        list.push_back({{"worker", i},
                        {"received", w.received.value()},
                        {"forwarded", w.forwarded.value()},
                        {"answered", w.answered.value()},
                        {"punted", w.punted.value()},
                        {"flow_entries", w.flow_entries.value()},
                        {"flow_inserts", w.flow_inserts.value()},
                        {"flow_evictions", w.flow_evictions.value()},
                        {"flow_full", w.flow_full.value()},
                        {"sticky_entries", w.sticky_entries.value()},
                        {"sticky_inserts", w.sticky_inserts.value()},
                        {"sticky_evictions", w.sticky_evictions.value()},
                        {"sticky_full", w.sticky_full.value()},
                        {"sticky_bypassed", w.sticky_bypassed.value()},
                        {"sticky_handed_over", w.sticky_handed_over.value()},
                        {"sessions", w.sessions.value()},
                        {"replies", w.replies.value()},
                        {"replies_handed_over", w.replies_handed_over.value()},
                        {"identities_sent", w.identities_sent.value()},
                        {"toa_left_out", w.toa_left_out.value()},
                        {"toa_removed", w.toa_removed.value()},
                        {"packets_in_flight", w.packets_in_flight.value()}});
    }
    return list;
}

}  // namespace

Json make_replay_report(const OfflineWorld& world, Workers workers) {
    const std::uint64_t received = sum(
        workers, [](auto& w) -> auto& { return w.received; });
    const std::uint64_t forwarded = sum(
        workers, [](auto& w) -> auto& { return w.forwarded; });
    const std::uint64_t answered = sum(
        workers, [](auto& w) -> auto& { return w.answered; });
    const std::uint64_t punted = sum(
        workers, [](auto& w) -> auto& { return w.punted; });
    Json dropped = dropped_by_reason(workers);
    std::uint64_t dropped_sum = 0;
    for (const Json& n : dropped) dropped_sum += n.get<std::uint64_t>();
    const auto unaccounted =
        static_cast<std::int64_t>(received - forwarded - answered - punted - dropped_sum);
    return {{"config", world.config.file},
            {"snapshot_checksum", fmt::format("{:016x}", world.snapshot().checksum)},
            {"received", received},
            {"forwarded", forwarded},
            {"answered", answered},
            {"punted", punted},
            {"punted_by_class", by_punt_class(
                                    workers, [](auto& w) -> auto& { return w.punted_by_class; })},
            {"punt_limited_by_class", by_punt_class(
                                          workers, [](auto& w) -> auto& { return w.punt_limited; })},
            {"dropped", std::move(dropped)},
            {"originated", sum_originated(workers)},
            {"unaccounted", unaccounted},
            {"packets_in_flight", sum(
                                      workers, [](auto& w) -> auto& { return w.packets_in_flight; })},
            {"services", services_of(world, workers)},
            {"pools", pools_of(world)},
            {"backends", backends_of(world, workers)},
            {"workers", workers_of(workers)},
            {"assumptions", world.assumptions}};
}

}  // namespace weir
