#include "dataplane/simulation.h"

#include <rte_errno.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "dataplane/stages/untag.h"
#include "drivers/mbuf_bytes.h"

namespace weir {

namespace {

constexpr std::uint64_t kWindowNs = 1'000'000;
constexpr std::size_t kWindowFrames = 1024;
constexpr std::uint32_t kPoolFrames = 8191;
// Buckets a window. Only housekeeping: an expired entry is a miss whether swept or not.
constexpr std::uint32_t kSweepBuckets = 64;
// Deadlines are compared modulo 72 h (flow_table.h): a gap in the capture must not carry an entry round the
// corner.
constexpr std::uint64_t kLongGapNs = 3600ull * 1'000'000'000;
// From here on after the last frame every entry has expired, and no deadline has come round yet (24 h to 36
// h).
constexpr std::uint64_t kAllExpiredNs = 30 * kLongGapNs;

// Travels with a frame through the pipeline, in the mbuf's dynamic field.
struct Stamp {
    std::uint64_t arrival_ns;
    std::uint64_t sequence;  // of the input frame, over all devices
};

int stamp_offset() {
    static const rte_mbuf_dynfield kField = {
        .name = "weir_replay_stamp", .size = sizeof(Stamp), .align = alignof(std::uint32_t), .flags = 0};
    static const int kOffset = rte_mbuf_dynfield_register(&kField);
    return kOffset;
}

Stamp stamp_of(const rte_mbuf* packet) {
    Stamp stamp;
    std::memcpy(&stamp, reinterpret_cast<const char*>(packet) + stamp_offset(), sizeof(stamp));
    return stamp;
}

void set_stamp(rte_mbuf* packet, const Stamp& stamp) {
    std::memcpy(reinterpret_cast<char*>(packet) + stamp_offset(), &stamp, sizeof(stamp));
}

// There is no kernel: what is punted is counted and forgotten.
struct VanishingHost {
    static std::uint32_t punt_room() { return 2 * PuntBuffer::kVitalRoom; }
    static std::uint32_t punt(std::span<rte_mbuf*> packets) {
        rte_pktmbuf_free_bulk(packets.data(), static_cast<unsigned>(packets.size()));
        return static_cast<std::uint32_t>(packets.size());
    }
};

struct Sent {
    Stamp stamp;
    rte_mbuf* packet;
};

}  // namespace

// Takes everything that leaves a device within a window.
class CaptureWire {
  public:
    std::uint32_t send(std::span<rte_mbuf*> packets) {
        for (rte_mbuf* packet : packets) sent_.push_back({stamp_of(packet), packet});
        return static_cast<std::uint32_t>(packets.size());
    }
    // In the order in which the packets' inputs came; frees them. `out` may be null.
    void write_to(CaptureWriter* out) {
        // Stable: a packet and what weir sends of its own accord because of it have one stamp.
        std::stable_sort(sent_.begin(), sent_.end(),
                         [](const Sent& a, const Sent& b) { return a.stamp.sequence < b.stamp.sequence; });
        for (const Sent& sent : sent_) {
            if (out != nullptr) out->write(sent.stamp.arrival_ns, *sent.packet);
            rte_pktmbuf_free(sent.packet);
        }
        sent_.clear();
    }

  private:
    std::vector<Sent> sent_;
};

class Simulation::SimulatedWorker {
  public:
    SimulatedWorker(HugeMemory memory, const TableSizes& sizes, std::span<const SimulatedDevice> devices,
                    PuntLimits& limits, std::uint32_t id, WorkerRings& rings)
        : memory_(std::move(memory)),
          tables_(TableMemory::in(memory_.bytes(), sizes)),
          // The tables' keys are random in production; here results must repeat.
          pipeline_(tables_.flows, HashKey::zero(), counters_, {.limits = &limits},
                    {.memory = tables_.clients, .worker = id, .rings = &rings},
                    {.memory = tables_.sessions, .worker = id, .rings = &rings}),
          devices_(devices),
          queues_(devices.size()),
          rings_(rings),
          id_(id) {
        for (std::size_t device = 0; device < devices.size(); ++device)
            for (const PortId port : devices[device].ports.all()) device_of_[index(port)] = device;
    }

    void enqueue(std::size_t device, rte_mbuf* packet) { queues_[device].push_back(packet); }

    // after_burst() empties the rings.
    template <class AfterBurst>
    void run(const ForwardingSnapshot& world, Tick now, std::vector<CaptureWire>& wires,
             const AfterBurst& after_burst) {
        const auto run_one = [&](Burst& burst) { run_burst(burst, world, now, wires); };
        for (std::size_t device = 0; device < queues_.size(); ++device) {
            const DevicePorts& ports = devices_[device].ports;
            const std::vector<rte_mbuf*>& queue = queues_[device];
            for (std::size_t at = 0; at < queue.size(); at += kBurstSize) {
                Burst burst(ports.first());
                burst.size = static_cast<std::uint32_t>(std::min<std::size_t>(kBurstSize, queue.size() - at));
                std::copy_n(queue.begin() + static_cast<std::ptrdiff_t>(at), burst.size,
                            burst.packet.begin());
                if (ports.has_vlans())
                    untag(burst, ports, counters_, run_one);
                else
                    run_one(burst);
                after_burst();
            }
            queues_[device].clear();
        }
        pipeline_.sweep(world, now, kSweepBuckets);
    }
    // What other workers have handed over. False: nothing.
    bool empty_ring(const ForwardingSnapshot& world, Tick now, std::vector<CaptureWire>& wires) {
        std::array<rte_mbuf*, kBurstSize> packets;
        const std::uint32_t count = rings_.take(id_, packets);
        counters_.packets_in_flight.set(rings_.held(id_));
        pipeline_.take_over(std::span(packets).first(count), world, now,
                            [&](Burst& burst) { run_burst(burst, world, now, wires); });
        return count != 0;
    }
    void sweep_all(const ForwardingSnapshot& world, Tick now) { pipeline_.sweep_all(world, now); }

    WorkerCounters& counters() { return counters_; }
    const FlowTable& flows() const { return pipeline_.flows(); }

  private:
    void run_burst(Burst& burst, const ForwardingSnapshot& world, Tick now, std::vector<CaptureWire>& wires) {
        pipeline_.run(burst, world, now);
        pipeline_.flush(world,
                        [&](PortId egress) -> CaptureWire& { return wires[device_of_[index(egress)]]; });
        pipeline_.hand_up(VanishingHost{});
    }

    WorkerCounters counters_;
    HugeMemory memory_;
    TableMemory tables_;
    Pipeline pipeline_;
    std::span<const SimulatedDevice> devices_;
    std::array<std::size_t, kMaxPorts> device_of_{};  // by port
    std::vector<std::vector<rte_mbuf*>> queues_;      // by device
    WorkerRings& rings_;
    std::uint32_t id_;
};

// What has been read of one capture and not been handed out yet, and the frames of the present window.
struct Simulation::Window {
    std::vector<std::optional<CapturedFrame>> heads;  // by device
    std::vector<CaptureWire> wires;                   // by device
    std::size_t frames = 0;
    std::uint64_t first_ns = 0;  // of the first window
    std::uint64_t start_ns = 0, sequence = 0;
};

Simulation::Simulation(unsigned workers, std::vector<SimulatedDevice> devices, std::vector<TimedWorld> worlds)
    : worlds_(std::move(worlds)),
      devices_(std::move(devices)),
      reta_(static_cast<std::uint16_t>(workers)),
      window_(std::make_unique<Window>()) {
    window_->heads.resize(devices_.size());
    window_->wires.resize(devices_.size());
}

Result<std::unique_ptr<Simulation>> Simulation::create(unsigned workers, const TableSizes& sizes,
                                                       std::vector<SimulatedDevice> devices,
                                                       std::vector<TimedWorld> worlds) {
    std::unique_ptr<Simulation> simulation(new Simulation(workers, std::move(devices), std::move(worlds)));
    auto rings = WorkerRings::make(workers);
    if (!rings) return tl::make_unexpected(rings.error());
    simulation->rings_ = std::move(*rings);
    const std::size_t bytes = TableMemory::bytes_for(sizes);
    for (unsigned w = 0; w < workers; ++w) {
        auto memory = HugeMemory::allocate(bytes, false);
        if (!memory) return tl::make_unexpected(memory.error());
        simulation->workers_.push_back(
            std::make_unique<SimulatedWorker>(std::move(*memory), sizes, simulation->devices_,
                                              simulation->punt_limits_, w, *simulation->rings_));
    }
    if (stamp_offset() < 0) return machine_error("replay: no room in DPDK's mbufs for a time stamp");
    simulation->pool_ =
        rte_pktmbuf_pool_create("replay", kPoolFrames, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (simulation->pool_ == nullptr)
        return machine_error(std::string("replay: no memory for frames: ") + rte_strerror(rte_errno));
    return simulation;
}

Simulation::~Simulation() { rte_mempool_free(pool_); }

std::vector<WorkerCounters*> Simulation::counters() const {
    std::vector<WorkerCounters*> counters;
    for (const auto& worker : workers_) counters.push_back(&worker->counters());
    return counters;
}

std::uint64_t Simulation::flow_capacity() const { return workers_.front()->flows().capacity(); }

// Reads ahead one frame of each capture.
Result<void> Simulation::read_heads() {
    for (std::size_t device = 0; device < devices_.size(); ++device) {
        if (window_->heads[device] || devices_[device].in == nullptr) continue;
        auto frame = devices_[device].in->next();
        if (!frame) return tl::make_unexpected(frame.error());
        window_->heads[device] = std::move(*frame);
    }
    return {};
}

Result<void> Simulation::take_frame(std::size_t device) {
    const CapturedFrame& frame = *window_->heads[device];
    // A capture may run backwards for a moment; time in weir never does.
    const std::uint64_t now_ns = std::max(frame.time_ns, window_->start_ns);
    const bool closes_window =
        window_->frames == kWindowFrames || now_ns - window_->start_ns > kWindowNs || changes_by(now_ns);
    if (closes_window) run_window();
    rte_mbuf* packet = to_mbuf(*pool_, frame.bytes);
    if (packet == nullptr) {  // frames of 64 KiB take many mbufs: free those of this window
        run_window();
        packet = to_mbuf(*pool_, frame.bytes);
    }
    if (packet == nullptr)
        return operator_error("frame " + std::to_string(window_->sequence + 1) + " has " +
                              std::to_string(frame.bytes.size()) + " bytes and replay takes at most " +
                              std::to_string(kLongestFrame) +
                              ": leave it out, or capture with `ethtool -K DEVICE gro off tso off`");
    if (window_->frames == 0) open_window(now_ns);
    set_stamp(packet, {frame.time_ns, window_->sequence++});
    workers_[rss_queue_of_frame(*packet, kRssKey, reta_)]->enqueue(device, packet);
    ++window_->frames;
    window_->heads[device].reset();
    return {};
}

bool Simulation::changes_by(std::uint64_t now_ns) const noexcept {
    return window_->sequence > 0 && present_ + 1 < worlds_.size() &&
           now_ns - window_->first_ns >= worlds_[present_ + 1].from_ns;
}

void Simulation::open_window(std::uint64_t now_ns) {
    if (window_->sequence == 0) window_->first_ns = now_ns;
    const auto sweep_all = [this](std::uint64_t ns) {
        for (const auto& worker : workers_) worker->sweep_all(world(), tick_of_nanoseconds(ns));
    };
    if (window_->sequence > 0 && now_ns - window_->start_ns > kLongGapNs)
        sweep_all(std::min(now_ns, window_->start_ns + kAllExpiredNs));
    while (changes_by(now_ns)) {
        ++present_;
        sweep_all(now_ns);
    }
    window_->start_ns = now_ns;
}

void Simulation::run_window() {
    if (window_->frames == 0) return;
    const Tick now = tick_of_nanoseconds(window_->start_ns);
    for (const auto& worker : workers_)
        worker->run(world(), now, window_->wires, [this, now] { empty_rings(now); });
    window_->frames = 0;
    for (std::size_t device = 0; device < devices_.size(); ++device)
        window_->wires[device].write_to(devices_[device].out);
}

void Simulation::empty_rings(Tick now) {
    for (bool any = true; any;) {
        any = false;
        for (const auto& worker : workers_) any |= worker->empty_ring(world(), now, window_->wires);
    }
}

Result<void> Simulation::run() {
    for (;;) {
        if (auto read = read_heads(); !read) return read;
        std::optional<std::size_t> first;
        for (std::size_t device = 0; device < devices_.size(); ++device) {
            const auto& head = window_->heads[device];
            if (head && (!first || head->time_ns < window_->heads[*first]->time_ns)) first = device;
        }
        if (!first) break;
        if (auto taken = take_frame(*first); !taken) return taken;
    }
    run_window();
    return {};
}

}  // namespace weir
