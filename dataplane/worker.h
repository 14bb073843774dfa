// One lcore that polls queues: its own RX and TX queue of every port, its own pipeline. Run to completion.
//
// Theory of operation. Each loop reads the clock and latches the snapshot once, takes a burst from each of
// its queues through the pipeline, sweeps a few buckets of its flow table, and reports a quiescent state
// where it holds no pointer into the snapshot. With idle = sleep a worker without traffic goes offline in
// QSBR and sleeps for a while that doubles up to a millisecond; with idle = poll it never does.
//
// Where the snapshot says that a port is disabled, the worker touches neither its queues nor what it knows of
// them: then the control core may take the device away, bring another and name its queues.
//
// run() belongs to the worker's lcore. The control core makes and destroys the object, reads counters(),
// names queues, and stops it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/pipeline.h"
#include "dataplane/published.h"
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
    bool sleeps_when_idle = false;
};

class Worker {
  public:
    Worker(const WorkerSpec& spec, const PublishedSnapshot& published);

    // Polls until stop() is called. Precondition: a snapshot is published.
    void run() noexcept;
    // Any thread. run() returns after the loop that it is in, and a few more if packets wait.
    void stop() noexcept { stop_.store(true, std::memory_order_relaxed); }

    // The port's device has been made again. The control thread, and only between World::settled_since() the
    // generation that disabled the port and the publication of the one that enables it: the first orders the
    // write after the worker's last look, the second before its next.
    void set_queues(PortId port, WorkerQueues queues) noexcept { queues_[index(port)] = queues; }

    [[nodiscard]] std::uint64_t flow_capacity() const noexcept { return pipeline_.flows().capacity(); }

  private:
    bool poll(const ForwardingSnapshot& world, Tick now) noexcept;
    void drain(const ForwardingSnapshot& world, Tick now) noexcept;
    void rest(PublishedSnapshot::Reader& reader, std::uint32_t idle_loops) noexcept;

    WorkerCounters& counters_;
    Pipeline pipeline_;
    std::vector<WorkerQueues> queues_;
    const PublishedSnapshot& published_;
    std::uint32_t id_;
    bool sleeps_when_idle_;
    alignas(64) std::atomic<bool> stop_{false};
};

}  // namespace weir
