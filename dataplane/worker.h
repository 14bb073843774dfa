// One lcore that polls queues: its own RX and TX queue of every port, its own pipeline. Run to completion.
//
// Theory of operation. Each loop reads the clock and latches the snapshot once, takes a burst from each of
// its queues and one from its ring through the pipeline, sends what the host thread has for it, sweeps a few
// buckets of its tables, and reports a quiescent state where it holds no pointer into the snapshot. With idle
// = sleep a worker without traffic sleeps (idle.h), until a frame, wake() or a time limit ends it; with idle
// = poll it never does.
//
// Where the snapshot says that a port is disabled, the worker touches neither its queues nor what it knows of
// them: then the control core may take the device away, bring another and name its queues.
//
// run() belongs to the worker's lcore. The control core makes and destroys the object, reads counters(),
// names queues, and stops it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/device_ports.h"
#include "dataplane/idle.h"
#include "dataplane/pipeline.h"
#include "dataplane/published.h"
#include "dataplane/rss_check.h"
#include "dataplane/state/probe_ports.h"
#include "dataplane/table_memory.h"
#include "dataplane/worker_rings.h"
#include "drivers/host_rings.h"
#include "drivers/rx_queue.h"
#include "drivers/tx_queue.h"

namespace weir {

using PublishedSnapshot = Published<ForwardingSnapshot>;

// A worker's share of one port. Ports of one device have the same queues and differ in their tags.
struct WorkerQueues {
    RxQueue rx;
    TxQueue tx;
    VlanTags vlan{};
};

struct WorkerSpec {
    std::uint32_t id = 0;              // 0 .. workers - 1; also its reader id
    std::vector<WorkerQueues> queues;  // by PortId
    TableMemory tables;                // zeroed
    HashKey flow_hash_key;
    HashKey sticky_key = HashKey::zero();     // the same for all workers
    WorkerRings* rings = nullptr;             // between all workers; null: this is the only one
    WorkerCounters* counters = nullptr;       // outlives the worker
    std::uint32_t workers = 1;                // of the appliance: this one's share of the punt limits
    HostRings* host = nullptr;                // to the host thread; null: what is punted is dropped punt_full
    HostFlows* host_flows = nullptr;          // of the appliance; null together with `host`
    const ProbePorts* probe_ports = nullptr;  // of the appliance; null: no probes through VIPs
    bool sleeps_when_idle = false;
    bool rx_interrupts = false;  // every port has them: Port::has_rx_interrupts()
};

class Worker {
  public:
    Worker(const WorkerSpec& spec, const PublishedSnapshot& published);

    // Polls until stop() is called. Precondition: a snapshot is published.
    void run() noexcept;
    // Any thread. run() returns after the loop that it is in, and a few more if packets wait.
    void stop() noexcept {
        stop_.store(true, std::memory_order_relaxed);
        wake();
    }
    // Any thread. A worker that sleeps looks at once at what the caller has put before it; nothing otherwise.
    void wake() noexcept {
        if (idle_) idle_->wake();
    }

    // The port's device has been made again. The control thread, and only between World::settled_since() the
    // generation that disabled the port and the publication of the one that enables it: the first orders the
    // write after the worker's last look, the second before its next. The port's tags stay.
    void set_queues(PortId port, const WorkerQueues& queues) noexcept;

    [[nodiscard]] std::uint64_t flow_capacity() const noexcept { return pipeline_.flows().capacity(); }
    [[nodiscard]] std::uint64_t session_capacity() const noexcept { return pipeline_.session_capacity(); }
    [[nodiscard]] std::uint64_t sticky_capacity() const noexcept { return pipeline_.sticky_capacity(); }

  private:
    // A receive queue, and whose frames come by it.
    struct PolledQueue {
        RxQueue rx;
        DevicePorts ports;
        RssCheck rss{};
    };

    void add_port(PortId port, const WorkerQueues& queues);
    bool poll(const ForwardingSnapshot& world, Tick now) noexcept;
    void check_rss(PolledQueue& polled, const Burst& burst) noexcept;
    void watch_again() noexcept;
    void run(Burst& burst, const ForwardingSnapshot& world, Tick now) noexcept;
    void hand_up() noexcept;
    bool send_for_host(const ForwardingSnapshot& world, Tick now) noexcept;
    void send_for_host(std::span<rte_mbuf*> frames, const ForwardingSnapshot& world, Tick now) noexcept;
    void send_probes(std::span<rte_mbuf*> frames, const ForwardingSnapshot& world, Tick now) noexcept;
    void collect() noexcept;
    bool take_over(const ForwardingSnapshot& world, Tick now) noexcept;
    void drain(const ForwardingSnapshot& world, Tick now) noexcept;

    WorkerCounters& counters_;
    PuntLimits punt_limits_;
    Pipeline pipeline_;
    std::vector<PolledQueue> polled_;
    std::vector<TxQueue> tx_;  // by PortId
    const PublishedSnapshot& published_;
    HostRings* host_;
    HostFlows* host_flows_;
    const ProbePorts* probe_ports_;
    WorkerRings* rings_;
    std::uint32_t id_, workers_;
    std::uint32_t collected_count_ = 0;
    std::array<rte_mbuf*, kBurstSize> collected_;  // from the ring, for the loop that begins
    std::unique_ptr<Idle> idle_;                   // null: it polls
    alignas(64) std::atomic<bool> stop_{false};
};

}  // namespace weir
