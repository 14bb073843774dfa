#include "dataplane/worker.h"

#include <rte_pause.h>

#include <algorithm>

#include "dataplane/stages/probe.h"
#include "dataplane/stages/receive.h"
#include "dataplane/stages/untag.h"
#include "dataplane/tick_clock.h"

namespace weir {

namespace {

constexpr std::uint32_t kSweepWhenBusy = 1, kSweepWhenIdle = 64;  // buckets a loop
constexpr std::uint32_t kDrainLoops = 2 * 1024 / kBurstSize;      // bursts a queue: twice its descriptors
constexpr std::uint32_t kHostFrames = 32;  // a loop: the kernel's frames wait for those of the ports

// Of a worker without a host thread.
struct NoHost {
    static std::uint32_t punt(std::span<rte_mbuf*>) noexcept { return 0; }
    static std::uint32_t punt_room() noexcept { return 0; }
};

PacketBytes bytes_from(const rte_mbuf* frame) noexcept {
    return {rte_pktmbuf_mtod(frame, const std::uint8_t*), frame->data_len, frame->pkt_len};
}

// Calls for_run(span) for each run of frames of one port.
template <class ForRun>
void by_port(std::span<rte_mbuf*> frames, ForRun&& for_run) noexcept {
    for (std::size_t first = 0, end = 0; first < frames.size(); first = end) {
        while (end < frames.size() && frames[end]->port == frames[first]->port) ++end;
        for_run(frames.subspan(first, end - first));
    }
}

}  // namespace

Worker::Worker(const WorkerSpec& spec, const PublishedSnapshot& published)
    : counters_(*spec.counters),
      punt_limits_(spec.workers),
      pipeline_(
          spec.tables.flows, spec.flow_hash_key, counters_,
          {.limits = &punt_limits_, .flows = spec.host_flows},
          {.memory = spec.tables.clients, .key = spec.sticky_key, .worker = spec.id, .rings = spec.rings},
          {.memory = spec.tables.sessions,
           .key = spec.flow_hash_key,
           .worker = spec.id,
           .rings = spec.rings}),
      published_(published),
      host_(spec.host),
      host_flows_(spec.host_flows),
      probe_ports_(spec.probe_ports),
      rings_(spec.rings),
      id_(spec.id),
      workers_(spec.workers) {
    for (std::size_t port = 0; port < spec.queues.size(); ++port)
        add_port(static_cast<PortId>(port), spec.queues[port]);
    if (!spec.sleeps_when_idle) return;
    std::vector<RxQueue> interrupting;
    if (spec.rx_interrupts)
        for (const PolledQueue& polled : polled_) interrupting.push_back(polled.rx);
    idle_ = std::make_unique<Idle>(interrupting, counters_);
    if (rings_ != nullptr) rings_->set_sleeper(id_, &idle_->sleeper());
}

// Polls a device once, however many ports lie on it.
void Worker::add_port(PortId port, const WorkerQueues& queues) {
    tx_.push_back(queues.tx);
    const auto same = std::find_if(polled_.begin(), polled_.end(), [&](const PolledQueue& polled) {
        return polled.rx.ethdev == queues.rx.ethdev;
    });
    PolledQueue& polled = same != polled_.end() ? *same : polled_.emplace_back(queues.rx, DevicePorts());
    polled.ports.add(port, queues.vlan);
    if (pipeline_.session_capacity() != 0) polled.rss.begin(static_cast<std::uint16_t>(workers_));
}

void Worker::set_queues(PortId port, const WorkerQueues& queues) noexcept {
    tx_[index(port)] = queues.tx;
    for (PolledQueue& polled : polled_) {
        if (std::ranges::find(polled.ports.all(), port) == polled.ports.all().end()) continue;
        polled.rx = queues.rx;
        if (pipeline_.session_capacity() != 0) polled.rss.begin(static_cast<std::uint16_t>(workers_));
    }
}

[[gnu::always_inline]] inline void Worker::run(Burst& burst, const ForwardingSnapshot& world,
                                               Tick now) noexcept {
    pipeline_.run(burst, world, now);
    pipeline_.flush(world, [this](PortId egress) -> TxQueue& { return tx_[index(egress)]; });
    hand_up();
}

void Worker::hand_up() noexcept {
    if (host_ != nullptr)
        pipeline_.hand_up(*host_);
    else
        pipeline_.hand_up(NoHost{});
}

// Frames of one port. What the device refuses was never received: it has a counter of its own.
void Worker::send_for_host(std::span<rte_mbuf*> frames, const ForwardingSnapshot& world, Tick now) noexcept {
    const std::size_t port = frames.front()->port;
    std::array<OutgoingKind, kHostFrames> kinds;  // the frames are the device's once it has taken them
    for (std::size_t i = 0; i < frames.size(); ++i) {
        kinds[i] = static_cast<OutgoingKind>(frames[i]->hash.usr);
        if (kinds[i] == OutgoingKind::host) host_flows_->note_sent(bytes_from(frames[i]), now);
    }
    const PortRecord& record = world.ports[port];
    if (record.vlan.any()) put_tags(frames, record.vlan);
    const std::size_t sent = record.enabled ? tx_[port].send(frames) : 0;
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
bool Worker::send_for_host(const ForwardingSnapshot& world, Tick now) noexcept {
    if (host_ == nullptr) return false;
    std::array<rte_mbuf*, kHostFrames> frames, probes;
    const std::uint32_t taken = host_->take(frames);
    std::uint32_t count = 0, probe_count = 0;
    for (std::uint32_t i = 0; i < taken; ++i) {
        if (is_probe(frames[i])) [[unlikely]]
            probes[probe_count++] = frames[i];
        else
            frames[count++] = frames[i];
    }
    by_port(std::span(frames).first(count),
            [&](std::span<rte_mbuf*> of_port) { send_for_host(of_port, world, now); });
    by_port(std::span(probes).first(probe_count),
            [&](std::span<rte_mbuf*> of_port) { send_probes(of_port, world, now); });
    return taken != 0;
}

// Probes through VIPs that came by one host interface, by which what cannot go is counted.
[[gnu::noinline]] void Worker::send_probes(std::span<rte_mbuf*> frames, const ForwardingSnapshot& world,
                                           Tick now) noexcept {
    Burst burst(static_cast<PortId>(frames.front()->port));
    for (rte_mbuf* frame : frames) {
        host_flows_->note_sent(bytes_from(frame), now);  // the answers are welcome
        burst.packet[burst.size++] = frame;
    }
    steer_probes(burst, world, probe_ports_);
    for (std::uint32_t i = 0; i < burst.size; ++i) {
        const std::span<rte_mbuf*> frame = std::span(burst.packet).subspan(i, 1);
        std::size_t sent = 0;
        if (!burst.dropped.has(i)) {
            const PortId egress = burst.backend[i]->egress;
            const PortRecord& record = world.ports[index(egress)];
            if (record.vlan.any()) put_tags(frame, record.vlan);
            if (record.enabled) sent = tx_[index(egress)].send(frame);
        }
        if (sent == 0) rte_pktmbuf_free_bulk(frame.data(), 1);
        (sent != 0 ? counters_.originated[kOriginatedProbe] : counters_.host_tx_refused[index(burst.port)])
            .add(1);
    }
}

// The queues' numbers may be others than before.
void Worker::watch_again() noexcept {
    std::array<RxQueue, kMaxPorts> interrupting;
    std::size_t count = 0;
    for (const PolledQueue& polled : polled_) interrupting[count++] = polled.rx;
    idle_->watch(std::span(interrupting).first(count));
}

// Empties the ring before the snapshot is latched (worker_rings.h).
void Worker::collect() noexcept {
    if (rings_ != nullptr) collected_count_ = rings_->take(id_, collected_);
}

bool Worker::take_over(const ForwardingSnapshot& world, Tick now) noexcept {
    if (collected_count_ == 0) return false;
    pipeline_.take_over(std::span(collected_).first(collected_count_), world, now,
                        [&](Burst& burst) { run(burst, world, now); });
    collected_count_ = 0;
    counters_.packets_in_flight.set(rings_->held(id_));
    return true;
}

[[gnu::noinline]] void Worker::check_rss(PolledQueue& polled, const Burst& burst) noexcept {
    const std::size_t port = index(polled.ports.first());
    polled.rss.look(std::span(burst.packet).first(burst.size), id_, counters_.rss_as_computed[port],
                    counters_.rss_otherwise[port]);
}

// What came by the ring, one burst from each queue of an enabled device, and one of what the host thread has.
// True if any packet came.
bool Worker::poll(const ForwardingSnapshot& world, Tick now) noexcept {
    bool busy = take_over(world, now), all_are_there = true;
    for (PolledQueue& polled : polled_) {
        // A device's ports are disabled together.
        if (!world.ports[index(polled.ports.first())].enabled) [[unlikely]] {
            all_are_there = false;
            if (idle_ != nullptr) idle_->stop_watching();
            continue;
        }
        Burst burst(polled.ports.first());
        receive(burst, polled.rx);
        if (burst.size == 0) continue;
        busy = true;
        if (polled.rss.is_due()) [[unlikely]]
            check_rss(polled, burst);
        if (!polled.ports.has_vlans()) [[likely]]
            run(burst, world, now);
        else
            untag(burst, polled.ports, counters_, [&](Burst& of_port) { run(of_port, world, now); });
    }
    if (idle_ != nullptr && idle_->has_let_go() && all_are_there) [[unlikely]]
        watch_again();
    return send_for_host(world, now) || busy;
}

// What the devices, the host thread and other workers had for us when stop() was called goes out; a sender
// that does not stop is not waited for. Nothing new comes by the ring, nor goes to where its answer would
// come back.
void Worker::drain(const ForwardingSnapshot& world, Tick now) noexcept {
    if (rings_ != nullptr) rings_->close(id_);
    for (std::uint32_t loops = 0; loops < kDrainLoops; ++loops) {
        collect();
        if (!poll(world, now)) break;
    }
    if (rings_ != nullptr) counters_.packets_in_flight.set(rings_->held(id_));
}

void Worker::run() noexcept {
    PublishedSnapshot::Reader reader(published_, id_);
    const TickClock clock;
    Idle* const idle = idle_.get();
    if (idle != nullptr) idle->begin();
    bool was_busy = false;  // the loop before found packets
    std::uint64_t before = rte_rdtsc();
    while (!stop_.load(std::memory_order_relaxed)) {
        collect();
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
        counters_.loops.add(1);
        if (!busy) {
            idle == nullptr ? rte_pause() : idle->rest(reader, tsc);
        } else if (!was_busy && idle != nullptr) {
            idle->resume(tsc);
        }
        was_busy = busy;
        // No pointer into `world` is held, and what it says is done: a device that it disables is not touched
        // any more.
        reader.quiescent();
    }
    drain(*reader.latch(), clock.at(rte_rdtsc()));
    reader.leave();
}

}  // namespace weir
