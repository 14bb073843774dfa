#include "ctrl/metrics/nat_metrics.h"

#include <array>
#include <string>

#include "ctrl/metrics/family_builder.h"

namespace weir {
namespace {

struct CounterMetric {
    const char *name, *help;
    Counter WorkerCounters::*counter;
};

constexpr std::array kCounters = {
    CounterMetric{"nat_sessions_total", "Sessions begun.", &WorkerCounters::session_inserts},
    CounterMetric{"nat_session_evictions_total",
                  "Sessions that made room in a full table: unanswered, or long over.",
                  &WorkerCounters::session_evictions},
    CounterMetric{
        "nat_snat_ports_taken_over_total",
        "SNAT ports that went to a new session as no free one was found: their sessions were over for longer "
        "than nat_tcp_time_wait, or never established.",
        &WorkerCounters::snat_ports_taken_over},
    CounterMetric{"nat_replies_total", "Packets of backends, translated back.", &WorkerCounters::replies},
    CounterMetric{"nat_replies_handed_over_total",
                  "Packets of backends that came to another worker than their session's.",
                  &WorkerCounters::replies_handed_over},
    CounterMetric{"nat_requests_handed_over_total",
                  "Mode dnat: packets of clients that came to another worker than their session's.",
                  &WorkerCounters::requests_handed_over},
    CounterMetric{"nat_identities_sent_total",
                  "Packets to backends that carry a PROXY header or a TOA option, repetitions included.",
                  &WorkerCounters::identities_sent},
    CounterMetric{"nat_toa_left_out_total",
                  "Packets to backends that went without their TOA option, for which they had no room.",
                  &WorkerCounters::toa_left_out},
    CounterMetric{"nat_toa_removed_total",
                  "Packets of clients that brought a TOA option of their own, which was overwritten.",
                  &WorkerCounters::toa_removed},
};

}  // namespace

void add_nat_metrics(const MetricsInput& input, std::vector<prometheus::MetricFamily>& families) {
    if (input.session_capacity == 0) return;
    const auto by_worker = [&](FamilyBuilder family, auto&& value_of) {
        for (std::size_t i = 0; i < input.workers.size(); ++i)
            family.add({{"worker", std::to_string(i)}}, static_cast<double>(value_of(*input.workers[i])));
        family.finish(families);
    };
    for (const CounterMetric& metric : kCounters)
        by_worker(FamilyBuilder::counter(metric.name, metric.help),
                  [&](const WorkerCounters& worker) { return (worker.*metric.counter).value(); });
    by_worker(FamilyBuilder::gauge("nat_sessions",
                                   "Sessions, each with a SNAT port; expired ones not yet swept "
                                   "included."),
              [](const WorkerCounters& worker) { return worker.sessions.value(); });
    auto snat = FamilyBuilder::gauge("nat_snat_ports_in_use",
                                     "SNAT ports that sessions hold; one that serves sessions of several "
                                     "backends counts once for each.");
    if (input.labels != nullptr)
        for (std::size_t id = 0; id < input.labels->snat_addresses.size(); ++id)
            for (std::size_t i = 0; i < input.workers.size(); ++i)
                snat.add({{"address", input.labels->snat_addresses[id]}, {"worker", std::to_string(i)}},
                         input.workers[i]->snat_ports[id].value());
    snat.finish(families);
    auto rss = FamilyBuilder::counter("nat_rss_checked_frames_total",
                                      "Of a queue's first frames with a hash of the NIC's: as_computed, and "
                                      "those for which replies will travel by ring.");
    for (std::size_t port = 0; port < input.ports.size(); ++port) {
        const auto sum = [&](const auto& counters) {
            std::uint64_t total = 0;
            for (const WorkerCounters* worker : input.workers) total += (worker->*counters)[port].value();
            return static_cast<double>(total);
        };
        const std::string& name = input.ports[port].name;
        rss.add({{"port", name}, {"result", "as_computed"}}, sum(&WorkerCounters::rss_as_computed));
        rss.add({{"port", name}, {"result", "otherwise"}}, sum(&WorkerCounters::rss_otherwise));
    }
    rss.finish(families);
    by_worker(FamilyBuilder::gauge("nat_session_capacity", "Sessions that the worker has room for."),
              [&](const WorkerCounters&) { return input.session_capacity; });
}

}  // namespace weir
