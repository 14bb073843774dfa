#include "dataplane/simulation.h"

#include <rte_errno.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>

#include <algorithm>
#include <cstring>
#include <optional>

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
    std::uint64_t sequence;  // of the input frame, over all ports
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

// Takes everything that leaves a port within a window.
class CaptureWire {
  public:
    std::uint32_t send(std::span<rte_mbuf*> packets) {
        for (rte_mbuf* packet : packets) sent_.push_back({stamp_of(packet), packet});
        return static_cast<std::uint32_t>(packets.size());
    }
    // In the order in which the packets' inputs came; frees them. `out` may be null.
    void write_to(CaptureWriter* out) {
        std::sort(sent_.begin(), sent_.end(),
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
    SimulatedWorker(HugeMemory memory, std::uint64_t flows, std::size_t ports, PuntLimits& limits)
        : memory_(std::move(memory)),
          // The flow table's key is random in production; here results must repeat.
          pipeline_(memory_.bytes().first(FlowTable::bytes_for(flows)), HashKey::zero(), counters_,
                    {.limits = &limits}),
          queues_(ports) {}

    void enqueue(std::size_t port, rte_mbuf* packet) { queues_[port].push_back(packet); }

    void run(const ForwardingSnapshot& world, Tick now, std::vector<CaptureWire>& wires) {
        for (std::size_t port = 0; port < queues_.size(); ++port) {
            const std::vector<rte_mbuf*>& queue = queues_[port];
            for (std::size_t at = 0; at < queue.size(); at += kBurstSize) {
                Burst burst(static_cast<PortId>(port));
                burst.size = static_cast<std::uint32_t>(std::min<std::size_t>(kBurstSize, queue.size() - at));
                std::copy_n(queue.begin() + static_cast<std::ptrdiff_t>(at), burst.size,
                            burst.packet.begin());
                pipeline_.run(burst, world, now);
                pipeline_.flush(world, [&](PortId egress) -> CaptureWire& { return wires[index(egress)]; });
                pipeline_.hand_up(VanishingHost{});
            }
            queues_[port].clear();
        }
        pipeline_.sweep(world, now, kSweepBuckets);
    }
    void sweep_all(const ForwardingSnapshot& world, Tick now) {
        pipeline_.sweep(world, now, static_cast<std::uint32_t>(pipeline_.flows().buckets()));
    }

    WorkerCounters& counters() { return counters_; }
    const FlowTable& flows() const { return pipeline_.flows(); }

  private:
    WorkerCounters counters_;
    HugeMemory memory_;
    Pipeline pipeline_;
    std::vector<std::vector<rte_mbuf*>> queues_;  // by port
};

// What has been read of one capture and not been handed out yet, and the frames of the present window.
struct Simulation::Window {
    std::vector<std::optional<CapturedFrame>> heads;  // by port
    std::vector<CaptureWire> wires;                   // by port
    std::size_t frames = 0;
    std::uint64_t start_ns = 0, sequence = 0;
};

Simulation::Simulation(unsigned workers, std::vector<SimulatedPort> ports, const ForwardingSnapshot& world)
    : world_(world),
      ports_(std::move(ports)),
      reta_(static_cast<std::uint16_t>(workers)),
      window_(std::make_unique<Window>()) {
    window_->heads.resize(ports_.size());
    window_->wires.resize(ports_.size());
}

Result<std::unique_ptr<Simulation>> Simulation::create(unsigned workers, std::uint64_t flows_per_worker,
                                                       std::vector<SimulatedPort> ports,
                                                       const ForwardingSnapshot& world) {
    std::unique_ptr<Simulation> simulation(new Simulation(workers, std::move(ports), world));
    for (unsigned w = 0; w < workers; ++w) {
        auto memory = HugeMemory::allocate(FlowTable::bytes_for(flows_per_worker), false);
        if (!memory) return tl::make_unexpected(memory.error());
        simulation->workers_.push_back(std::make_unique<SimulatedWorker>(
            std::move(*memory), flows_per_worker, simulation->ports_.size(), simulation->punt_limits_));
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
    for (std::size_t port = 0; port < ports_.size(); ++port) {
        if (window_->heads[port] || ports_[port].in == nullptr) continue;
        auto frame = ports_[port].in->next();
        if (!frame) return tl::make_unexpected(frame.error());
        window_->heads[port] = std::move(*frame);
    }
    return {};
}

Result<void> Simulation::take_frame(std::size_t port) {
    const CapturedFrame& frame = *window_->heads[port];
    // A capture may run backwards for a moment; time in weir never does.
    const std::uint64_t now_ns = std::max(frame.time_ns, window_->start_ns);
    const bool closes_window = window_->frames == kWindowFrames || now_ns - window_->start_ns > kWindowNs;
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
    workers_[rss_queue_of_frame(*packet, kRssKey, reta_)]->enqueue(port, packet);
    ++window_->frames;
    window_->heads[port].reset();
    return {};
}

void Simulation::open_window(std::uint64_t now_ns) {
    if (window_->sequence > 0 && now_ns - window_->start_ns > kLongGapNs)
        for (const auto& worker : workers_)
            worker->sweep_all(world_,
                              tick_of_nanoseconds(std::min(now_ns, window_->start_ns + kAllExpiredNs)));
    window_->start_ns = now_ns;
}

void Simulation::run_window() {
    if (window_->frames == 0) return;
    for (const auto& worker : workers_)
        worker->run(world_, tick_of_nanoseconds(window_->start_ns), window_->wires);
    window_->frames = 0;
    for (std::size_t port = 0; port < ports_.size(); ++port) window_->wires[port].write_to(ports_[port].out);
}

Result<void> Simulation::run() {
    for (;;) {
        if (auto read = read_heads(); !read) return read;
        std::optional<std::size_t> first;
        for (std::size_t port = 0; port < ports_.size(); ++port) {
            const auto& head = window_->heads[port];
            if (head && (!first || head->time_ns < window_->heads[*first]->time_ns)) first = port;
        }
        if (!first) break;
        if (auto taken = take_frame(*first); !taken) return taken;
    }
    run_window();
    return {};
}

}  // namespace weir
