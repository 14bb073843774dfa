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
constexpr std::uint32_t kHostFrames = 32;  // a loop: the kernel's frames wait for those of the ports
constexpr std::uint32_t kShortestSleepNs = 8'000, kLongestSleepNs = 1'000'000;

// Of a worker without a host thread.
struct NoHost {
    static std::uint32_t punt(std::span<rte_mbuf*>) noexcept { return 0; }
};

}  // namespace

Worker::Worker(const WorkerSpec& spec, const PublishedSnapshot& published)
    : counters_(*spec.counters),
      punt_limits_(spec.workers),
      pipeline_(spec.flow_memory, spec.flow_hash_key, counters_,
                {.limits = &punt_limits_, .flows = spec.host_flows}),
      queues_(spec.queues),
      published_(published),
      host_(spec.host),
      host_flows_(spec.host_flows),
      id_(spec.id),
      sleeps_when_idle_(spec.sleeps_when_idle) {}

void Worker::hand_up() noexcept {
    if (host_ != nullptr)
        pipeline_.hand_up(*host_);
    else
        pipeline_.hand_up(NoHost{});
}

// Frames of one port. What the device refuses was never received: it has a counter of its own.
void Worker::send_for_host(std::span<rte_mbuf*> frames, Tick now) noexcept {
    const std::size_t port = frames.front()->port;
    std::array<OutgoingKind, kHostFrames> kinds;  // the frames are the device's once it has taken them
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const rte_mbuf* frame = frames[i];
        kinds[i] = static_cast<OutgoingKind>(frame->hash.usr);
        if (kinds[i] == OutgoingKind::host)
            host_flows_->note_sent(
                {rte_pktmbuf_mtod(frame, const std::uint8_t*), frame->data_len, frame->pkt_len}, now);
    }
    const std::size_t sent = queues_[port].tx.send(frames);
    for (std::size_t i = 0; i < sent; ++i) {
        if (kinds[i] == OutgoingKind::host)
            counters_.host_tx[port].add(1);
        else
            counters_.originated[static_cast<std::size_t>(kinds[i]) - 1].add(1);
    }
    if (sent == frames.size()) return;
    counters_.host_tx_refused[port].add(frames.size() - sent);
    rte_pktmbuf_free_bulk(frames.data() + sent, static_cast<unsigned>(frames.size() - sent));
}

// In the order in which they came, port by port. True if there were any.
bool Worker::send_for_host(Tick now) noexcept {
    if (host_ == nullptr) return false;
    std::array<rte_mbuf*, kHostFrames> frames;
    const std::uint32_t count = host_->take(frames);
    for (std::uint32_t first = 0, end = 0; first < count; first = end) {
        while (end < count && frames[end]->port == frames[first]->port) ++end;
        send_for_host(std::span(frames).subspan(first, end - first), now);
    }
    return count != 0;
}

// One burst from each queue, and one of what the host thread has. True if any packet came.
bool Worker::poll(const ForwardingSnapshot& world, Tick now) noexcept {
    bool busy = false;
    for (std::size_t port = 0; port < queues_.size(); ++port) {
        Burst burst(static_cast<PortId>(port));
        receive(burst, queues_[port].rx);
        if (burst.size == 0) continue;
        busy = true;
        pipeline_.run(burst, world, now);
        pipeline_.flush(world, [this](PortId egress) -> TxQueue& { return queues_[index(egress)].tx; });
        hand_up();
    }
    return send_for_host(now) || busy;
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

// What the devices and the host thread had for us when stop() was called goes out; a sender that does not
// stop is not waited for.
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
