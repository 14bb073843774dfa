#include "ctrl/metrics/collect_metrics.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "ctrl/metrics/family_builder.h"
#include "ctrl/metrics/kernel_metrics.h"
#include "ctrl/metrics/nat_metrics.h"

namespace weir {
namespace {

using Families = std::vector<prometheus::MetricFamily>;

// One family per row, one metric per element: a table of getters instead of a paragraph per metric.
template <class Element>
struct Row {
    const char* name;
    const char* help;
    double (*value)(const Element&);
};

template <class Element, class Range, class LabelOf>
void add_table(Families& families, FamilyBuilder (*make)(std::string_view, std::string_view),
               std::initializer_list<Row<Element>> rows, const Range& elements, const LabelOf& add_labelled) {
    for (const Row<Element>& row : rows) {
        FamilyBuilder family = make(row.name, row.help);
        for (const Element& element : elements) add_labelled(family, element, row.value(element));
        family.finish(families);
    }
}

template <class Integer>
double number(Integer value) {
    return static_cast<double>(value);
}

void add_build_and_config(const MetricsInput& input, Families& families) {
    FamilyBuilder build = FamilyBuilder::gauge("build_info", "Always 1; the labels say what is running.");
    build.add({{"version", input.version}, {"dpdk_version", input.dpdk_version}}, std::uint64_t{1});
    build.finish(families);
    FamilyBuilder reloads =
        FamilyBuilder::counter("config_reloads_total", "Reloads of the configuration by result.");
    reloads.add({{"result", "success"}}, input.reloads.succeeded);
    reloads.add({{"result", "failure"}}, input.reloads.refused);
    reloads.finish(families);
    const auto single = [&](std::string_view name, std::string_view help, double value) {
        FamilyBuilder family = FamilyBuilder::gauge(name, help);
        family.add({}, value);
        family.finish(families);
    };
    single("config_last_reload_successful", "1 if the last reload was put in force, 0 if it was refused.",
           input.reloads.last_successful ? 1 : 0);
    single("config_last_reload_success_timestamp_seconds", "Unix time of the last reload put in force.",
           input.reloads.last_success_time);
    if (input.labels != nullptr) {
        single("config_generation", "Number of the newest snapshot that workers are given.",
               number(input.generation));
        single(
            "snapshot_checksum",
            "Low 53 bits of the selection tables' checksum: equal on appliances that pick the same backends.",
            number(input.checksum & ((std::uint64_t{1} << 53) - 1)));
    }
    FamilyBuilder publish = FamilyBuilder::histogram(
        "snapshot_publish_duration_seconds", "From a snapshot's publication until every worker uses it.");
    publish.add({}, input.publish_durations);
    publish.finish(families);
}

// A NIC's own name for a counter as part of a metric's name.
std::string metric_name_of(std::string_view nic_name) {
    std::string name = "nic_";
    for (const char c : nic_name)
        name += std::isalnum(static_cast<unsigned char>(c)) != 0
                    ? static_cast<char>(std::tolower(static_cast<unsigned char>(c)))
                    : '_';
    return name.ends_with("_total") ? name : name + "_total";
}

void add_ports(const MetricsInput& input, Families& families) {
    using Port = PortStatistics;
    const auto by_port = [](FamilyBuilder& family, const Port& port, double value) {
        family.add({{"port", port.name}}, value);
    };
    const auto by_carrier = [&](FamilyBuilder& family, const Port& port, double value) {
        if (port.carries_device) by_port(family, port, value);
    };
    add_table<Port>(
        families, FamilyBuilder::counter,
        {{"port_rx_packets_total", "Packets received.", [](const Port& p) { return number(p.rx_packets); }},
         {"port_tx_packets_total", "Packets transmitted.",
          [](const Port& p) { return number(p.tx_packets); }},
         {"port_rx_bytes_total", "Bytes received.", [](const Port& p) { return number(p.rx_bytes); }},
         {"port_tx_bytes_total", "Bytes transmitted.", [](const Port& p) { return number(p.tx_bytes); }},
         {"port_rx_missed_total", "Packets that the device dropped because its receive ring was full.",
          [](const Port& p) { return number(p.rx_missed); }},
         {"port_rx_no_mbuf_total", "Packets that the device dropped for want of a packet buffer.",
          [](const Port& p) { return number(p.rx_no_mbuf); }},
         {"port_resets_total", "Times that the port's device was reset or made again.",
          [](const Port& p) { return number(p.resets); }}},
        input.ports, by_carrier);
    add_table<Port>(
        families, FamilyBuilder::gauge,
        {{"port_link_up", "1 if the link is up.", [](const Port& p) { return p.link_up ? 1.0 : 0.0; }},
         {"port_mtu_bytes", "Longest IP packet that the port carries at present.",
          [](const Port& p) { return number(p.mtu); }}},
        input.ports, by_port);
    std::map<std::string, FamilyBuilder> nic;
    for (const Port& port : input.ports) {
        std::map<std::string, std::uint64_t> of_port;  // two names that sanitize to one are added up
        for (const auto& [name, value] : port.nic) of_port[metric_name_of(name)] += value;
        for (const auto& [name, value] : of_port)
            nic.try_emplace(name, FamilyBuilder::counter(name, "The network device's own counter."))
                .first->second.add({{"port", port.name}}, value);
    }
    for (auto& [name, family] : nic) family.finish(families);
}

// What the host thread has done between the workers and the kernel.
void add_host_thread(const MetricsInput& input, Families& families) {
    using Port = PortStatistics;
    add_table<Port>(families, FamilyBuilder::counter,
                    {{"host_rx_packets_total", "Packets that the kernel has taken by the host interface.",
                      [](const Port& p) { return number(p.host.rx_packets); }},
                     {"host_rx_bytes_total", "Bytes of their frames.",
                      [](const Port& p) { return number(p.host.rx_bytes); }}},
                    input.ports, [](FamilyBuilder& family, const Port& port, double value) {
                        family.add({{"port", port.name}}, value);
                    });
    FamilyBuilder rx = FamilyBuilder::counter("host_rx_dropped_packets_total",
                                              "Punted packets that the kernel has not taken, by reason.");
    FamilyBuilder tx =
        FamilyBuilder::counter("host_tx_dropped_packets_total",
                               "Packets of the kernel, or of weir's own accord, that no worker "
                               "has been given, by reason.");
    for (const Port& port : input.ports) {
        const HostPortStats& host = port.host;
        rx.add({{"port", port.name}, {"reason", "no_interface"}}, host.rx_no_interface);
        rx.add({{"port", port.name}, {"reason", "interface_down"}}, host.rx_interface_down);
        rx.add({{"port", port.name}, {"reason", "refused"}}, host.rx_refused);
        tx.add({{"port", port.name}, {"reason", "no_mbuf"}}, host.tx_no_mbuf);
        tx.add({{"port", port.name}, {"reason", "too_long"}}, host.tx_too_long);
    }
    rx.finish(families);
    tx.finish(families);
}

// What the workers have sent for the kernel and of weir's own accord, and handed up.
void add_host(const MetricsInput& input, Families& families) {
    const auto sum = [&](auto&& counter) {
        std::uint64_t total = 0;
        for (const WorkerCounters* worker : input.workers) total += counter(*worker).value();
        return total;
    };
    const auto by_port = [&](std::string_view name, std::string_view help, auto member) {
        FamilyBuilder family = FamilyBuilder::counter(name, help);
        for (std::size_t port = 0; port < input.ports.size() && port < kMaxPorts; ++port)
            family.add({{"port", input.ports[port].name}},
                       sum([&](const WorkerCounters& w) -> auto& { return (w.*member)[port]; }));
        family.finish(families);
    };
    by_port("host_tx_packets_total", "Packets sent for the kernel.", &WorkerCounters::host_tx);
    by_port("host_tx_refused_packets_total",
            "Packets of the kernel, or of weir's own accord, without room in the device or a next hop.",
            &WorkerCounters::host_tx_refused);
    const auto by_name = [&](std::string_view name, std::string_view help, const char* label,
                             const auto& names, auto member) {
        FamilyBuilder family = FamilyBuilder::counter(name, help);
        for (std::size_t i = 0; i < names.size(); ++i)
            family.add({{label, names[i]}},
                       sum([&](const WorkerCounters& w) -> auto& { return (w.*member)[i]; }));
        family.finish(families);
    };
    by_name("originated_packets_total", "Packets sent of weir's own accord, by kind.", "kind",
            kOriginatedKindNames, &WorkerCounters::originated);
    by_name("originated_packets_lost_total", "Packets of weir's own for which there was no buffer or device.",
            "kind", kOriginatedKindNames, &WorkerCounters::originated_lost);
    by_name("punted_packets_total", "Packets handed to the kernel, by class.", "class", kPuntClassNames,
            &WorkerCounters::punted_by_class);
    by_name("punt_limited_packets_total",
            "Packets for the kernel that the limit of their class held back, by class.", "class",
            kPuntClassNames, &WorkerCounters::punt_limited);
}

struct NumberedWorker {
    std::string name;
    const WorkerCounters* counters;
    std::uint64_t flow_capacity, sticky_capacity;
    double tsc_hz;
};

void by_worker(FamilyBuilder& family, const NumberedWorker& worker, double value) {
    family.add({{"worker", worker.name}}, value);
}

std::vector<NumberedWorker> numbered_workers(const MetricsInput& input) {
    std::vector<NumberedWorker> workers;
    const auto at = [](const std::vector<std::uint64_t>& values, std::size_t i) {
        return i < values.size() ? values[i] : 0;
    };
    for (std::size_t i = 0; i < input.workers.size(); ++i)
        workers.push_back({std::to_string(i), input.workers[i], at(input.flow_capacity, i),
                           at(input.sticky_capacity, i), input.tsc_hz});
    return workers;
}

void add_workers(const MetricsInput& input, Families& families) {
    using Worker = NumberedWorker;
    const std::vector<Worker> workers = numbered_workers(input);
    const auto count = [](const Counter& counter) { return number(counter.value()); };
    static constexpr auto kCount = count;
    add_table<Worker>(
        families, FamilyBuilder::counter,
        {{"worker_rx_packets_total", "Packets taken from the receive queues.",
          [](const Worker& w) { return kCount(w.counters->received); }},
         {"worker_forwarded_packets_total", "Packets sent to a backend.",
          [](const Worker& w) { return kCount(w.counters->forwarded); }},
         {"worker_answered_packets_total", "Packets that weir answered itself (ARP, ND, echo).",
          [](const Worker& w) { return kCount(w.counters->answered); }},
         {"worker_punted_packets_total", "Packets handed to the kernel.",
          [](const Worker& w) { return kCount(w.counters->punted); }},
         {"worker_busy_seconds_total", "Time in poll loops that found a packet.",
          [](const Worker& w) { return kCount(w.counters->busy_tsc) / w.tsc_hz; }},
         {"worker_idle_seconds_total", "Time in poll loops that found none.",
          [](const Worker& w) { return kCount(w.counters->idle_tsc) / w.tsc_hz; }},
         {"worker_asleep_seconds_total", "Time in poll loops that found none, asleep.",
          [](const Worker& w) { return kCount(w.counters->asleep_tsc) / w.tsc_hz; }},
         {"worker_sleeps_total", "Sleeps for want of packets.",
          [](const Worker& w) { return kCount(w.counters->sleeps); }},
         {"flow_table_inserts_total", "Flows entered into the flow table.",
          [](const Worker& w) { return kCount(w.counters->flow_inserts); }},
         {"flow_table_evictions_total", "Unconfirmed flows that made room for others.",
          [](const Worker& w) { return kCount(w.counters->flow_evictions); }},
         {"flow_table_full_total", "New flows forwarded by hash alone because the flow table had no room.",
          [](const Worker& w) { return kCount(w.counters->flow_full); }}},
        workers, by_worker);
    add_table<Worker>(families, FamilyBuilder::gauge,
                      {{"flow_table_entries", "Flows in the flow table, expired ones not yet swept included.",
                        [](const Worker& w) { return kCount(w.counters->flow_entries); }},
                       {"flow_table_capacity", "Flows that the flow table has room for.",
                        [](const Worker& w) { return number(w.flow_capacity); }},
                       {"packets_in_flight", "Packets in the worker's ring, handed over by other workers.",
                        [](const Worker& w) { return kCount(w.counters->packets_in_flight); }}},
                      workers, by_worker);
    FamilyBuilder drops = FamilyBuilder::counter("dropped_packets_total", "Packets dropped, by reason.");
    for (std::size_t reason = 0; reason < kDropReasons; ++reason) {
        std::uint64_t sum = 0;
        for (const WorkerCounters* worker : input.workers) sum += worker->dropped[reason].value();
        drops.add({{"reason", kDropReasonNames[reason]}}, sum);
    }
    drops.finish(families);
}

void add_sticky(const MetricsInput& input, Families& families) {
    using Worker = NumberedWorker;
    const auto workers = numbered_workers(input);
    add_table<Worker>(
        families, FamilyBuilder::counter,
        {{"sticky_inserts_total", "Clients of sticky pools entered into the worker's table.",
          [](const Worker& w) { return number(w.counters->sticky_inserts.value()); }},
         {"sticky_evictions_total", "Clients of a single flow that made room for others.",
          [](const Worker& w) { return number(w.counters->sticky_evictions.value()); }},
         {"sticky_full_total", "New flows of clients that found no room: placed by hash, not remembered.",
          [](const Worker& w) { return number(w.counters->sticky_full.value()); }},
         {"sticky_bypassed_total",
          "Packets placed by hash alone: the ring of their client's worker was full.",
          [](const Worker& w) { return number(w.counters->sticky_bypassed.value()); }},
         {"sticky_handed_over_total", "Packets handed over to their client's worker.",
          [](const Worker& w) { return number(w.counters->sticky_handed_over.value()); }}},
        workers, by_worker);
    add_table<Worker>(
        families, FamilyBuilder::gauge,
        {{"sticky_table_entries", "Clients of sticky pools, expired ones not yet swept included.",
          [](const Worker& w) { return number(w.counters->sticky_entries.value()); }},
         {"sticky_table_capacity", "Clients of sticky pools that the worker has room for.",
          [](const Worker& w) { return number(w.sticky_capacity); }}},
        workers, by_worker);
}

struct NamedService {
    const MetricsLabels::Service* service;
    ServiceSums sums;
};
struct NamedBackend {
    const MetricsLabels::Backend* backend;
    BackendSums sums;
};

// Services and backends count the same four things.
template <class Named, class LabelOf>
void add_traffic(Families& families, const std::string& what, const std::vector<Named>& all,
                 const LabelOf& add_labelled) {
    const std::string packets = what + "_packets_total", bytes = what + "_bytes_total",
                      new_flows = what + "_new_flows_total", active = what + "_active_flows";
    add_table<Named>(
        families, FamilyBuilder::counter,
        {{packets.c_str(), "Packets, by destination.", [](const Named& n) { return number(n.sums.packets); }},
         {bytes.c_str(), "Bytes of their IP packets as received.",
          [](const Named& n) { return number(n.sums.bytes); }},
         {new_flows.c_str(), "Flows begun.", [](const Named& n) { return number(n.sums.new_flows); }}},
        all, add_labelled);
    add_table<Named>(families, FamilyBuilder::gauge,
                     {{active.c_str(), "Flows in the workers' flow tables.",
                       [](const Named& n) { return number(n.sums.active_flows); }}},
                     all, add_labelled);
}

void add_services(const MetricsInput& input, Families& families) {
    FamilyBuilder drops =
        FamilyBuilder::counter("service_dropped_packets_total", "Packets of a service dropped, by reason.");
    std::vector<NamedService> services;
    for (const MetricsLabels::Service& service : input.labels->services) {
        ServiceSums sums;
        for (const WorkerCounters* worker : input.workers) add_counters(sums, *worker, service.id);
        sums.subtract(service.base);
        for (std::size_t i = 0; i < sums.dropped.size(); ++i)
            drops.add({{"service", service.name},
                       {"reason", kDropReasonNames[i + static_cast<std::size_t>(kFirstServiceReason)]}},
                      sums.dropped[i]);
        services.push_back({&service, sums});
    }
    drops.finish(families);
    add_traffic(families, "service", services,
                [](FamilyBuilder& family, const NamedService& n, double value) {
                    family.add({{"service", n.service->name}}, value);
                });
}

// What clients' packets say of a backend.
void add_signs(Families& families, const std::vector<NamedBackend>& backends) {
    add_table<NamedBackend>(
        families, FamilyBuilder::counter,
        {{"backend_syn_repeats_total", "SYNs that clients sent again: no answer has come so far.",
          [](const NamedBackend& n) { return number(n.sums.syn_repeats); }},
         {"backend_client_resets_total", "Flows, opening or established, that clients ended by a RST.",
          [](const NamedBackend& n) { return number(n.sums.client_resets); }}},
        backends, [](FamilyBuilder& family, const NamedBackend& n, double value) {
            family.add({{"pool", n.backend->pool}, {"backend", n.backend->name}}, value);
        });
}

void add_backends(const MetricsInput& input, Families& families) {
    std::vector<NamedBackend> backends;
    for (const MetricsLabels::Backend& backend : input.labels->backends) {
        BackendSums sums;
        for (const auto& [id, base] : backend.ids) {
            for (const WorkerCounters* worker : input.workers) add_counters(sums, *worker, id);
            sums.subtract(base);
        }
        backends.push_back({&backend, sums});
    }
    add_signs(families, backends);
    add_traffic(families, "backend", backends,
                [](FamilyBuilder& family, const NamedBackend& n, double value) {
                    family.add({{"pool", n.backend->pool}, {"backend", n.backend->name}}, value);
                });
}

}  // namespace

std::vector<prometheus::MetricFamily> collect_metrics(const MetricsInput& input) {
    Families families;
    add_build_and_config(input, families);
    add_ports(input, families);
    add_workers(input, families);
    add_sticky(input, families);
    add_nat_metrics(input, families);
    add_host(input, families);
    add_host_thread(input, families);
    if (input.kernel) add_kernel_metrics(*input.kernel, families);
    if (input.labels == nullptr) return families;
    add_services(input, families);
    add_backends(input, families);
    if (input.health != nullptr) add_health_metrics(*input.labels, *input.health, families);
    return families;
}

void MetricsCollector::update(std::shared_ptr<const MetricsInput> input) {
    const std::lock_guard lock(mutex_);
    input_.swap(input);
}

std::vector<prometheus::MetricFamily> MetricsCollector::Collect() const {
    try {
        std::shared_ptr<const MetricsInput> input;
        {
            const std::lock_guard lock(mutex_);
            input = input_;
        }
        if (input != nullptr) return collect_metrics(*input);
    } catch (...) {
        errors_.fetch_add(1, std::memory_order_relaxed);
    }
    return {};
}

}  // namespace weir
