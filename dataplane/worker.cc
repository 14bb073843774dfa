#include "dataplane/worker.h"

#include <rte_cycles.h>
#include <rte_pause.h>

#include <algorithm>

#include "dataplane/stages/receive.h"
#include "dataplane/stages/untag.h"

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

}  // namespace

Worker::Worker(const WorkerSpec& spec, const PublishedSnapshot& published)
    : counters_(*spec.counters),
      pipeline_(spec.flow_memory, spec.flow_hash_key, counters_),
      published_(published),
      id_(spec.id) {
    for (std::size_t port = 0; port < spec.queues.size(); ++port)
        add_port(static_cast<PortId>(port), spec.queues[port]);
    if (!spec.sleeps_when_idle) return;
    std::vector<RxQueue> interrupting;
    if (spec.rx_interrupts)
        for (const PolledQueue& polled : polled_) interrupting.push_back(polled.rx);
    idle_ = std::make_unique<Idle>(interrupting, counters_);
}

// Polls a device once, however many ports lie on it.
void Worker::add_port(PortId port, const WorkerQueues& queues) {
    tx_.push_back(queues.tx);
    const auto same = std::find_if(polled_.begin(), polled_.end(), [&](const PolledQueue& polled) {
        return polled.rx.ethdev == queues.rx.ethdev;
    });
    PolledQueue& polled = same != polled_.end() ? *same : polled_.emplace_back(queues.rx, DevicePorts());
    polled.ports.add(port, queues.vlan);
}

[[gnu::always_inline]] inline void Worker::run(Burst& burst, const ForwardingSnapshot& world,
                                               Tick now) noexcept {
    pipeline_.run(burst, world, now);
    pipeline_.flush(world, [this](PortId egress) -> TxQueue& { return tx_[index(egress)]; });
}

// One burst from each queue. True if any packet came.
bool Worker::poll(const ForwardingSnapshot& world, Tick now) noexcept {
    bool busy = false;
    for (const PolledQueue& polled : polled_) {
        Burst burst(polled.ports.first());
        receive(burst, polled.rx);
        if (burst.size == 0) continue;
        busy = true;
        if (!polled.ports.has_vlans()) [[likely]]
            run(burst, world, now);
        else
            untag(burst, polled.ports, counters_, [&](Burst& of_port) { run(of_port, world, now); });
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
