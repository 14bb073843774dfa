// What the control core may conclude about workers from their counters: which snapshot each one uses, how
// many sweeps of its flow table it has completed, how many flows it holds. Reads relaxed atomics only; the
// control thread.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/state/worker_counters.h"

namespace weir {

class SweepView {
  public:
    explicit SweepView(std::span<WorkerCounters* const> workers) : workers_(workers) {}

    // The oldest snapshot that a worker uses; without workers there is none that could use an old one.
    [[nodiscard]] std::uint64_t oldest_generation() const {
        std::uint64_t oldest = std::numeric_limits<std::uint64_t>::max();
        for (const WorkerCounters* worker : workers_) {
            const std::uint64_t generation = worker->snapshot_generation.value();
            if (generation < oldest) oldest = generation;
        }
        return oldest;
    }
    [[nodiscard]] std::vector<std::uint64_t> sweeps() const {
        std::vector<std::uint64_t> sweeps;
        for (const WorkerCounters* worker : workers_) sweeps.push_back(worker->flow_sweeps.value());
        return sweeps;
    }
    // Flows of a backend in all flow tables.
    [[nodiscard]] std::uint64_t active_flows(BackendId id) const {
        std::uint64_t flows = 0;
        for (const WorkerCounters* worker : workers_)
            if (worker->backends.has(index(id))) flows += worker->backends[index(id)].active_flows.value();
        return flows;
    }

  private:
    std::span<WorkerCounters* const> workers_;
};

}  // namespace weir
