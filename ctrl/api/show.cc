#include "ctrl/api/show.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ctrl/config/diagnostics.h"
#include "ctrl/config/setting_text.h"
#include "dataplane/net/address_text.h"

namespace weir {

using nlohmann::ordered_json;

namespace {

template <class T>
ordered_json or_null(const std::optional<T>& value) {
    return value ? ordered_json(*value) : ordered_json(nullptr);
}

// "2026-11-27T23:20:18Z"
ordered_json time_text(const std::optional<double>& since) {
    if (!since) return nullptr;
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(*since)));
}

ServiceSums sums_of(const World& world, ServiceId id) {
    ServiceSums sums;
    for (const WorkerCounters* worker : world.workers()) add_counters(sums, *worker, id);
    sums.subtract(world.counter_bases().of(id));
    return sums;
}

ordered_json protocols(const ServiceConfig& service) {
    ordered_json names = ordered_json::array();
    if (service.tcp) names.push_back("tcp");
    if (service.udp) names.push_back("udp");
    return names;
}

}  // namespace

ordered_json show_services(const ShowSources& sources) {
    const World& world = sources.world;
    ordered_json list = ordered_json::array();
    for (const ServiceConfig& service : world.config()->services) {
        const ServiceSums sums = sums_of(world, world.ids().service_id(service.name, service.vip));
        ordered_json dropped = ordered_json::object();
        for (std::size_t i = 0; i < sums.dropped.size(); ++i)
            if (sums.dropped[i] != 0)
                dropped[std::string(
                    name_of(static_cast<DropReason>(static_cast<std::size_t>(kFirstServiceReason) + i)))] =
                    sums.dropped[i];
        list.push_back({{"name", service.name},
                        {"vip", to_text(service.vip)},
                        {"protocols", protocols(service)},
                        {"port", to_text(service.ports)},
                        {"forwarding", name_of(service.forwarding)},
                        {"pool", service.pool},
                        {"active_flows", sums.active_flows},
                        {"new_flows", sums.new_flows},
                        {"packets", sums.packets},
                        {"bytes", sums.bytes},
                        {"dropped", dropped}});
    }
    return list;
}

ordered_json show_pools(const ShowSources& sources) {
    const Config& config = *sources.world.config();
    std::map<std::string_view, std::map<std::string, unsigned>> states;
    std::map<std::string_view, std::uint64_t> flows;
    const std::vector<BackendRow> rows = sources.backends();
    for (const BackendRow& row : rows) {
        ++states[row.pool][row.state];
        flows[row.pool] += row.active_flows;
    }
    std::map<std::string_view, std::vector<std::string>> services;
    for (const ServiceConfig& service : config.services) services[service.pool].push_back(service.name);
    ordered_json list = ordered_json::array();
    for (const PoolConfig& pool : config.pools)
        list.push_back({{"name", pool.name},
                        {"services", services[pool.name]},
                        {"hash", pool.hash == SelectionHash::source_ip ? "source_ip" : "five_tuple"},
                        {"backends", pool.backends.size()},
                        {"states", states[pool.name]},
                        {"deregistration_delay", to_text(pool.deregistration_delay)},
                        {"active_flows", flows[pool.name]}});
    return list;
}

ordered_json show_backends(const ShowSources& sources) {
    ordered_json list = ordered_json::array();
    for (const BackendRow& row : sources.backends())
        list.push_back({{"pool", row.pool},
                        {"name", row.name},
                        {"address", to_text(row.address)},
                        {"port", or_null(row.port)},
                        {"zone", row.zone},
                        {"weight", row.weight},
                        {"state", row.state},
                        {"reason", row.reason},
                        {"description", row.description},
                        {"since", time_text(row.since)},
                        {"active_flows", row.active_flows}});
    return list;
}

Result<ordered_json> show(const std::string& what, const ShowSources& sources) {
    using Show = ordered_json (*)(const ShowSources&);
    static constexpr std::pair<std::string_view, Show> kShows[] = {
        {"services", show_services}, {"pools", show_pools},     {"backends", show_backends},
        {"flows", show_flows},       {"workers", show_workers}, {"ports", show_ports},
        {"drops", show_drops}};
    for (const auto& [name, function] : kShows)
        if (name == what) return function(sources);
    return operator_error(fmt::format(
        "show {}: allowed: services, pools, backends, flows, workers, ports, drops", in_quotes(what)));
}

}  // namespace weir
