// flows, workers, ports, drops: what workers and devices count.
#include <fmt/format.h>

#include <map>

#include "ctrl/api/show.h"
#include "dataplane/net/address_text.h"

namespace weir {

using nlohmann::ordered_json;

namespace {

std::uint64_t dropped_by(const WorkerCounters& worker) {
    std::uint64_t sum = 0;
    for (const Counter& reason : worker.dropped) sum += reason.value();
    return sum;
}

std::uint64_t flows_of(const World& world, ServiceId id) {
    ServiceSums sums;
    for (const WorkerCounters* worker : world.workers()) add_counters(sums, *worker, id);
    return sums.active_flows;
}

}  // namespace

// The flows themselves are in the workers' tables, which nobody else may read.
ordered_json show_flows(const ShowSources& sources) {
    const World& world = sources.world;
    std::uint64_t entries = 0, inserts = 0, evictions = 0, full = 0;
    for (const WorkerCounters* worker : world.workers()) {
        entries += worker->flow_entries.value();
        inserts += worker->flow_inserts.value();
        evictions += worker->flow_evictions.value();
        full += worker->flow_full.value();
    }
    ordered_json services = ordered_json::array(), backends = ordered_json::array();
    for (const ServiceConfig& service : world.config()->services)
        services.push_back(
            {{"service", service.name},
             {"active_flows", flows_of(world, world.ids().service_id(service.name, service.vip))}});
    for (const BackendRow& row : sources.backends())
        backends.push_back({{"pool", row.pool},
                            {"backend", row.name},
                            {"address", to_text(row.address)},
                            {"active_flows", row.active_flows}});
    return {{"entries", entries},  {"capacity", sources.flow_capacity * world.workers().size()},
            {"inserted", inserts}, {"evicted", evictions},
            {"not_placed", full},  {"services", services},
            {"backends", backends}};
}

ordered_json show_workers(const ShowSources& sources) {
    ordered_json list = ordered_json::array();
    const auto workers = sources.world.workers();
    for (std::size_t i = 0; i < workers.size(); ++i) {
        const WorkerCounters& worker = *workers[i];
        const double busy = static_cast<double>(worker.busy_tsc.value());
        const double all = busy + static_cast<double>(worker.idle_tsc.value());
        list.push_back({{"worker", i},
                        {"generation", worker.snapshot_generation.value()},
                        {"busy", all > 0 ? busy / all : 0.0},
                        {"received", worker.received.value()},
                        {"forwarded", worker.forwarded.value()},
                        {"answered", worker.answered.value()},
                        {"punted", worker.punted.value()},
                        {"dropped", dropped_by(worker)},
                        {"flows", worker.flow_entries.value()},
                        {"flow_capacity", sources.flow_capacity}});
    }
    return list;
}

ordered_json show_ports(const ShowSources& sources) {
    ordered_json list = ordered_json::array();
    const auto statistics = sources.ports();
    const std::vector<PortConfig>& ports = sources.world.config()->ports;
    for (std::size_t i = 0; i < ports.size() && i < statistics.size(); ++i) {
        const PortStatistics& port = statistics[i];
        ordered_json addresses = ordered_json::array();
        for (const IpPrefix& prefix : ports[i].addresses) addresses.push_back(to_text(prefix));
        list.push_back({{"name", port.name},
                        {"device", ports[i].device},
                        {"link", port.link_up ? "up" : "down"},
                        {"mtu", port.mtu},
                        {"host_interface", ports[i].host_interface},
                        {"addresses", addresses},
                        {"rx_packets", port.rx_packets},
                        {"rx_bytes", port.rx_bytes},
                        {"tx_packets", port.tx_packets},
                        {"tx_bytes", port.tx_bytes},
                        {"rx_missed", port.rx_missed},
                        {"rx_no_mbuf", port.rx_no_mbuf},
                        {"resets", port.resets}});
    }
    return list;
}

ordered_json show_drops(const ShowSources& sources) {
    ordered_json reasons = ordered_json::object();
    std::uint64_t received = 0, dropped = 0;
    for (const WorkerCounters* worker : sources.world.workers()) {
        received += worker->received.value();
        dropped += dropped_by(*worker);
    }
    for (std::size_t i = 0; i < kDropReasons; ++i) {
        std::uint64_t sum = 0;
        for (const WorkerCounters* worker : sources.world.workers()) sum += worker->dropped[i].value();
        if (sum != 0) reasons[std::string(name_of(static_cast<DropReason>(i)))] = sum;
    }
    return {{"received", received}, {"dropped", dropped}, {"reasons", reasons}};
}

}  // namespace weir
