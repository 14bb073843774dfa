// Counters of one service or backend, to be summed over the workers, and what an earlier owner of the id had
// counted. Reads relaxed atomics; any thread that was given the ids after their chunks were made.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>

#include "dataplane/ids.h"
#include "dataplane/state/worker_counters.h"

namespace weir {

struct BackendSums {
    std::uint64_t packets = 0, bytes = 0, new_flows = 0;
    std::uint64_t syn_repeats = 0, client_resets = 0;
    std::uint64_t active_flows = 0;  // a gauge: earlier owners have none left
    // What has come since `base`.
    void subtract(const BackendSums& base) {
        packets -= base.packets;
        bytes -= base.bytes;
        new_flows -= base.new_flows;
        syn_repeats -= base.syn_repeats;
        client_resets -= base.client_resets;
    }
};

struct ServiceSums {
    std::uint64_t packets = 0, bytes = 0, new_flows = 0, active_flows = 0;
    std::array<std::uint64_t, kServiceDropReasons> dropped{};
    void subtract(const ServiceSums& base) {
        packets -= base.packets;
        bytes -= base.bytes;
        new_flows -= base.new_flows;
        for (std::size_t i = 0; i < dropped.size(); ++i) dropped[i] -= base.dropped[i];
    }
};

inline void add_counters(BackendSums& sums, const WorkerCounters& worker, BackendId id) {
    if (!worker.backends.has(index(id))) return;
    const BackendCounters& counters = worker.backends[index(id)];
    sums.packets += counters.packets.value();
    sums.bytes += counters.bytes.value();
    sums.new_flows += counters.new_flows.value();
    sums.active_flows += counters.active_flows.value();
    sums.syn_repeats += counters.syn_repeats.value();
    sums.client_resets += counters.client_resets.value();
}

inline void add_counters(ServiceSums& sums, const WorkerCounters& worker, ServiceId id) {
    if (!worker.services.has(index(id))) return;
    const ServiceCounters& counters = worker.services[index(id)];
    sums.packets += counters.packets.value();
    sums.bytes += counters.bytes.value();
    sums.new_flows += counters.new_flows.value();
    sums.active_flows += counters.active_flows.value();
    for (std::size_t i = 0; i < sums.dropped.size(); ++i) sums.dropped[i] += counters.dropped[i].value();
}

// What reused ids had counted when they changed hands.
class CounterBases {
  public:
    // Before the snapshot that gives the id to its new owner is published.
    void set(std::span<WorkerCounters* const> workers, BackendId id) {
        backends_[id] = {};
        for (const WorkerCounters* worker : workers) add_counters(backends_[id], *worker, id);
    }
    void set(std::span<WorkerCounters* const> workers, ServiceId id) {
        services_[id] = {};
        for (const WorkerCounters* worker : workers) add_counters(services_[id], *worker, id);
    }
    [[nodiscard]] BackendSums of(BackendId id) const {
        const auto base = backends_.find(id);
        return base == backends_.end() ? BackendSums{} : base->second;
    }
    [[nodiscard]] ServiceSums of(ServiceId id) const {
        const auto base = services_.find(id);
        return base == services_.end() ? ServiceSums{} : base->second;
    }

  private:
    std::map<BackendId, BackendSums> backends_;
    std::map<ServiceId, ServiceSums> services_;
};

}  // namespace weir
