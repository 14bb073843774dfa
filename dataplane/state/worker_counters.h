// What one worker counts. One writer: that worker. The control core reads and sums over workers.
//
// Counters by service and by backend lie in chunks of 1,024 ids that the control core allocates *before* it
// publishes a snapshot that has such ids (ensure_*), so that a worker finds every counter it can need and
// never allocates. Chunks are never freed while the worker lives: an id keeps its counters, also over a
// removal.
//
// Accounting (DESIGN.md section 10): received = forwarded + answered + punted + sum(dropped), exactly, once
// the worker's transmit buffers are empty.
#pragma once

#include <array>
#include <memory>

#include "dataplane/ids.h"
#include "dataplane/net/drop_reason.h"
#include "dataplane/state/counter.h"

namespace weir {

struct ServiceCounters {
    Counter packets;  // classified to the service, dropped ones included
    Counter bytes;    // of their IP packets, as received
    Counter new_flows;
    Counter active_flows;  // entries in this worker's flow table
    std::array<Counter, kServiceDropReasons> dropped;
};

struct BackendCounters {
    Counter packets;  // sent to the backend (given to the transmit buffer)
    Counter bytes;    // of their IP packets as received, tunnel headers not counted
    Counter new_flows;
    Counter active_flows;
};

// Fixed table of lazily allocated chunks; lookup is two loads.
template <class T, std::uint32_t kIds>
class CounterChunks {
  public:
    static constexpr std::uint32_t kPerChunk = 1024;

    // Control core, before it publishes: makes room for ids below `ids`.
    void ensure(std::uint32_t ids) {
        for (std::uint32_t chunk = 0; chunk * kPerChunk < ids; ++chunk)
            if (!chunks_[chunk]) chunks_[chunk] = std::make_unique<std::array<T, kPerChunk>>();
    }
    // Precondition: ensured.
    [[nodiscard]] T& at(std::uint32_t id) const noexcept {
        return (*chunks_[id / kPerChunk])[id % kPerChunk];
    }
    [[nodiscard]] bool has(std::uint32_t id) const noexcept { return chunks_[id / kPerChunk] != nullptr; }

  private:
    std::array<std::unique_ptr<std::array<T, kPerChunk>>, (kIds + kPerChunk) / kPerChunk> chunks_;
};

struct alignas(64) WorkerCounters {
    Counter received, forwarded, answered, punted;
    std::array<Counter, kDropReasons> dropped;

    Counter flow_entries;  // live or not yet swept
    Counter flow_inserts;
    Counter flow_evictions;  // unconfirmed flows that made room
    Counter flow_full;       // new flows forwarded by hash alone
    Counter flow_sweeps;     // completed sweeps of the flow table: BackendIds are reused by it

    Counter loops;                // heartbeat
    Counter busy_tsc, idle_tsc;   // TSC cycles of loops with and without a packet
    Counter snapshot_generation;  // of the snapshot that this worker uses

    CounterChunks<ServiceCounters, kMaxServices> services;
    CounterChunks<BackendCounters, kMaxBackends> backends;

    void drop(DropReason reason) noexcept { dropped[static_cast<std::size_t>(reason)].add(1); }
};

}  // namespace weir
