// One lcore that polls queues: its own RX and TX queue of every port, its own pipeline. Run to completion.
//
// Theory of operation. Each loop reads the clock and latches the snapshot once, takes a burst from each of
// its queues through the pipeline, sends what the host thread has for it, sweeps a few buckets of its flow
// table, and reports a quiescent state where it holds no pointer into the snapshot. With idle = sleep a
// worker without traffic goes offline in QSBR and sleeps for a while that doubles up to a millisecond; with
// idle = poll it never does.
//
// run() belongs to the worker's lcore. The control core makes and destroys the object, reads counters(), and
// stops it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/pipeline.h"
#include "dataplane/published.h"
#include "drivers/host_rings.h"
#include "drivers/rx_queue.h"
#include "drivers/tx_queue.h"

namespace weir {

using PublishedSnapshot = Published<ForwardingSnapshot>;

// A worker's share of one port.
struct WorkerQueues {
    RxQueue rx;
    TxQueue tx;
};

struct WorkerSpec {
    std::uint32_t id = 0;              // 0 .. workers - 1; also its reader id
    std::vector<WorkerQueues> queues;  // by PortId
    std::span<std::byte> flow_memory;  // FlowTable::bytes_for(flows), zeroed
    HashKey flow_hash_key;
    WorkerCounters* counters = nullptr;  // outlives the worker
    std::uint32_t workers = 1;           // of the appliance: this one's share of the punt limits
    HostRings* host = nullptr;           // to the host thread; null: what is punted is dropped punt_full
    HostFlows* host_flows = nullptr;     // of the appliance; null together with `host`
    bool sleeps_when_idle = false;
};

class Worker {
  public:
    Worker(const WorkerSpec& spec, const PublishedSnapshot& published);

    // Polls until stop() is called. Precondition: a snapshot is published.
    void run() noexcept;
    // Any thread. run() returns after the loop that it is in, and a few more if packets wait.
    void stop() noexcept { stop_.store(true, std::memory_order_relaxed); }

    [[nodiscard]] std::uint64_t flow_capacity() const noexcept { return pipeline_.flows().capacity(); }

  private:
    bool poll(const ForwardingSnapshot& world, Tick now) noexcept;
    void hand_up() noexcept;
    bool send_for_host(Tick now) noexcept;
    void send_for_host(std::span<rte_mbuf*> frames, Tick now) noexcept;
    void drain(const ForwardingSnapshot& world, Tick now) noexcept;
    void rest(PublishedSnapshot::Reader& reader, std::uint32_t idle_loops) noexcept;

    WorkerCounters& counters_;
    PuntLimits punt_limits_;
    Pipeline pipeline_;
    std::vector<WorkerQueues> queues_;
    const PublishedSnapshot& published_;
    HostRings* host_;
    HostFlows* host_flows_;
    std::uint32_t id_;
    bool sleeps_when_idle_;
    alignas(64) std::atomic<bool> stop_{false};
};

}  // namespace weir
