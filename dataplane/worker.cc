#include "dataplane/worker.h"

#include <rte_cycles.h>
#include <rte_pause.h>

#include "dataplane/stages/receive.h"

namespace weir {

namespace {

// TSC cycles -> ticks. One division a loop; the TSC's rate is fixed when EAL has started.
class TickClock {
  public:
    TickClock() noexcept : cycles_per_tick_(rte_get_tsc_hz() / kTicksPerSecond) {}
    [[nodiscard]] Tick at(std::uint64_t tsc) const noexcept {
        return Tick{static_cast<std::uint32_t>(tsc / cycles_per_tick_)};
    }

  private:
    std::uint64_t cycles_per_tick_;
};

constexpr std::uint32_t kSweepWhenBusy = 1, kSweepWhenIdle = 64;  // buckets a loop
constexpr std::uint32_t kDrainLoops = 2 * 1024 / kBurstSize;      // bursts a queue: twice its descriptors

std::unique_ptr<Idle> make_idle(const WorkerSpec& spec) {
    if (!spec.sleeps_when_idle) return nullptr;
    std::vector<RxQueue> interrupting;
    if (spec.rx_interrupts)
        for (const WorkerQueues& queues : spec.queues) interrupting.push_back(queues.rx);
    return std::make_unique<Idle>(interrupting, *spec.counters);
}

}  // namespace

Worker::Worker(const WorkerSpec& spec, const PublishedSnapshot& published)
    : counters_(*spec.counters),
      pipeline_(spec.flow_memory, spec.flow_hash_key, counters_),
      queues_(spec.queues),
      published_(published),
      id_(spec.id),
      idle_(make_idle(spec)) {}

// One burst from each queue. True if any packet came.
bool Worker::poll(const ForwardingSnapshot& world, Tick now) noexcept {
    bool busy = false;
    for (std::size_t port = 0; port < queues_.size(); ++port) {
        Burst burst(static_cast<PortId>(port));
        receive(burst, queues_[port].rx);
        if (burst.size == 0) continue;
        busy = true;
        pipeline_.run(burst, world, now);
        pipeline_.flush(world, [this](PortId egress) -> TxQueue& { return queues_[index(egress)].tx; });
    }
    return busy;
}

// What the devices had received when stop() was called goes out; a sender that does not stop is not waited
// for.
void Worker::drain(const ForwardingSnapshot& world, Tick now) noexcept {
    for (std::uint32_t loops = 0; loops < kDrainLoops && poll(world, now); ++loops) {
    }
}

void Worker::run() noexcept {
    PublishedSnapshot::Reader reader(published_, id_);
    const TickClock clock;
    Idle* const idle = idle_.get();
    if (idle != nullptr) idle->begin();
    bool was_busy = false;  // the loop before found packets
    std::uint64_t before = rte_rdtsc();
    while (!stop_.load(std::memory_order_relaxed)) {
        const ForwardingSnapshot& world = *reader.latch();  // the same tables for the whole loop
        counters_.snapshot_generation.set(world.generation);
        const std::uint64_t tsc = rte_rdtsc();
        const Tick now = clock.at(tsc);
        (was_busy ? counters_.busy_tsc : counters_.idle_tsc).add(tsc - before);
        before = tsc;
        const bool busy = poll(world, now);
        const std::uint32_t buckets = busy              ? kSweepWhenBusy
                                      : idle == nullptr ? kSweepWhenIdle
                                                        : idle->due_buckets(tsc);
        pipeline_.sweep(world, now, buckets);
        reader.quiescent();  // no pointer into `world` is held from here on

        counters_.loops.add(1);
        if (!busy) {
            idle == nullptr ? rte_pause() : idle->rest(reader, tsc);
        } else if (!was_busy && idle != nullptr) {
            idle->resume(tsc);
        }
        was_busy = busy;
    }
    drain(*reader.latch(), clock.at(rte_rdtsc()));
    reader.leave();
}

}  // namespace weir
