#include "dataplane/worker.h"

#include <rte_cycles.h>
#include <rte_pause.h>
#include <time.h>

#include <algorithm>

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
constexpr std::uint32_t kIdleLoopsBeforeSleep = 256;
constexpr std::uint32_t kShortestSleepNs = 8'000, kLongestSleepNs = 1'000'000;

}  // namespace

Worker::Worker(const WorkerSpec& spec, const PublishedSnapshot& published)
    : counters_(*spec.counters),
      pipeline_(spec.flow_memory, spec.flow_hash_key, counters_),
      queues_(spec.queues),
      published_(published),
      id_(spec.id),
      sleeps_when_idle_(spec.sleeps_when_idle) {}

// One burst from each queue of an enabled port. True if any packet came.
bool Worker::poll(const ForwardingSnapshot& world, Tick now) noexcept {
    bool busy = false;
    for (std::size_t port = 0; port < queues_.size(); ++port) {
        if (!world.ports[port].enabled) [[unlikely]]
            continue;
        Burst burst(static_cast<PortId>(port));
        receive(burst, queues_[port].rx);
        if (burst.size == 0) continue;
        busy = true;
        pipeline_.run(burst, world, now);
        pipeline_.flush(world, [this](PortId egress) -> TxQueue& { return queues_[index(egress)].tx; });
    }
    return busy;
}

void Worker::rest(PublishedSnapshot::Reader& reader, std::uint32_t idle_loops) noexcept {
    if (!sleeps_when_idle_ || idle_loops < kIdleLoopsBeforeSleep) {
        rte_pause();
        return;
    }
    const std::uint32_t doublings = std::min<std::uint32_t>((idle_loops - kIdleLoopsBeforeSleep) / 16, 10);
    const timespec pause{.tv_sec = 0, .tv_nsec = std::min(kShortestSleepNs << doublings, kLongestSleepNs)};
    reader.offline();
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
    reader.online();
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
    std::uint32_t idle_loops = 0;
    std::uint64_t before = rte_rdtsc();
    while (!stop_.load(std::memory_order_relaxed)) {
        const ForwardingSnapshot& world = *reader.latch();  // the same tables for the whole loop
        counters_.snapshot_generation.set(world.generation);
        const std::uint64_t tsc = rte_rdtsc();
        const Tick now = clock.at(tsc);
        const bool busy = poll(world, now);
        pipeline_.sweep(world, now, busy ? kSweepWhenBusy : kSweepWhenIdle);
        reader.quiescent();  // no pointer into `world` is held from here on

        idle_loops = busy ? 0 : idle_loops + 1;
        counters_.loops.add(1);
        (busy ? counters_.busy_tsc : counters_.idle_tsc).add(tsc - before);
        before = tsc;
        if (!busy) rest(reader, idle_loops);
    }
    drain(*reader.latch(), clock.at(rte_rdtsc()));
    reader.leave();
}

}  // namespace weir
