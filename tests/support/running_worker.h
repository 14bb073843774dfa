// A Worker of the product that polls on a thread of its own, as `weir run` has it on an lcore.
#pragma once

#include <pthread.h>
#include <time.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "dataplane/worker.h"
#include "drivers/huge_memory.h"

namespace weir::test {

// For sticky pools: what workers share, and the clients that this one has room for.
struct StickyShare {
    WorkerRings* rings = nullptr;
    std::uint64_t clients = 0;
};

class RunningWorker {
  public:
    RunningWorker(std::uint32_t id, std::vector<WorkerQueues> queues, WorkerCounters& counters,
                  const PublishedSnapshot& published, std::uint64_t flows, bool sleeps_when_idle,
                  bool rx_interrupts = false, HostRings* host = nullptr, HostFlows* host_flows = nullptr,
                  const StickyShare& sticky = {}, const ProbePorts* probe_ports = nullptr)
        : memory_(
              std::move(*HugeMemory::allocate(TableMemory::bytes_for({flows, sticky.clients, 0}), false))),
          worker_(WorkerSpec{.id = id,
                             .queues = std::move(queues),
                             .tables = TableMemory::in(memory_.bytes(), {flows, sticky.clients, 0}),
                             .flow_hash_key = HashKey::zero(),
                             .rings = sticky.rings,
                             .counters = &counters,
                             .host = host,
                             .host_flows = host_flows,
                             .probe_ports = probe_ports,
                             .sleeps_when_idle = sleeps_when_idle,
                             .rx_interrupts = rx_interrupts},
                  published),
          thread_([this] { worker_.run(); }) {}
    ~RunningWorker() { stop(); }
    RunningWorker(const RunningWorker&) = delete;
    RunningWorker& operator=(const RunningWorker&) = delete;

    void set_queues(PortId port, WorkerQueues queues) { worker_.set_queues(port, queues); }
    void wake() noexcept { worker_.wake(); }
    // What its thread has used so far.
    [[nodiscard]] std::chrono::nanoseconds cpu_time() {
        clockid_t clock;
        timespec used{};
        if (pthread_getcpuclockid(thread_.native_handle(), &clock) != 0 || clock_gettime(clock, &used) != 0)
            std::abort();
        return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
    }

    void stop() {
        worker_.stop();
        if (thread_.joinable()) thread_.join();
    }

  private:
    HugeMemory memory_;
    Worker worker_;
    std::thread thread_;
};

}  // namespace weir::test
