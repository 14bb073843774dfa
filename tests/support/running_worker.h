// A Worker of the product that polls on a thread of its own, as `weir run` has it on an lcore.
#pragma once

#include <thread>

#include "dataplane/worker.h"
#include "drivers/huge_memory.h"

namespace weir::test {

class RunningWorker {
  public:
    RunningWorker(std::uint32_t id, std::vector<WorkerQueues> queues, WorkerCounters& counters,
                  const PublishedSnapshot& published, std::uint64_t flows, bool sleeps_when_idle)
        : memory_(std::move(*HugeMemory::allocate(FlowTable::bytes_for(flows), false))),
          worker_(WorkerSpec{.id = id,
                             .queues = std::move(queues),
                             .flow_memory = memory_.bytes().first(FlowTable::bytes_for(flows)),
                             .flow_hash_key = HashKey::zero(),
                             .counters = &counters,
                             .sleeps_when_idle = sleeps_when_idle},
                  published),
          thread_([this] { worker_.run(); }) {}
    ~RunningWorker() { stop(); }
    RunningWorker(const RunningWorker&) = delete;
    RunningWorker& operator=(const RunningWorker&) = delete;

    void set_queues(PortId port, WorkerQueues queues) { worker_.set_queues(port, queues); }
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
