// World: the configuration in force, the ids it gave out and the snapshot that the workers read.
//
// Theory of operation. apply() runs diff -> compile -> publish and returns at once; tick() does what needs
// the workers' answer: it frees old snapshots, ends drains, and watches that every worker takes each
// generation within the deadline. A worker that does not is named, once for a generation, and counted; nobody
// waits for it. Old snapshots that such a worker keeps alive are bounded: beyond kMaxRetired the newest
// snapshot is held back, replaced by the next one, and published as soon as the worker moves (the newest
// wins).
//
// Workers are seen through their counters only; their chunks of counters are made before a snapshot is
// published that has the ids. The control thread, except published(), whose readers are the workers'.
#pragma once

#include <bitset>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/metrics/counter_sums.h"
#include "ctrl/metrics/duration_histogram.h"
#include "ctrl/notify.h"
#include "ctrl/tables/compile_snapshot.h"
#include "ctrl/tables/id_registry.h"
#include "dataplane/published.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/forwarding_snapshot.h"
#include "drivers/result.h"

namespace weir {

// Where a race test can freeze a reload: the hook is called after the step is done (before_publish: just
// before the pointer is exchanged).
enum class ReloadStep : std::uint8_t { read, validated, compiled, before_publish, published, reclaimed };

class World;

struct WorldOptions {
    HashKey selection_key = HashKey::zero();
    bool derive_unknown_macs = false;    // replay: NextHops
    std::vector<PortFacts> ports;        // by PortId
    const KernelWays* kernel = nullptr;  // of ports with a host interface; outlives the World
    // Told of the backends' addresses of a new configuration before it is compiled, so that `kernel` knows
    // the ways there. May be empty.
    std::function<void(const std::vector<IpAddress>&)> want_ways;
    std::vector<unsigned> worker_cpus;  // by worker, for messages; may be empty
    std::uint32_t max_readers = kMaxWorkers;
    std::chrono::milliseconds publish_deadline{1000};
    std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
    Notify notify;                       // may be empty
    std::function<void()> wake_workers;  // called after a publication; may be empty
    // Called by apply() when the next configuration has its ids and before it is compiled: whoever decides on
    // the backends' traffic says it then. May be empty.
    std::function<void(World&, const ConfigDelta&)> assigned;
    std::function<void(ReloadStep)> hook;  // empty in production
};

struct ApplyReport {
    std::uint64_t generation = 0;
    CompileWork work;
    std::chrono::nanoseconds compile_time{0};  // ids and tables
    std::chrono::nanoseconds publish_time{0};  // counters' chunks and the exchange, not the workers' answer
};

class World {
  public:
    static constexpr std::size_t kMaxRetired = 8;

    // `workers` outlives this, and so does what it points to.
    World(WorldOptions options, std::span<WorkerCounters* const> workers);

    // Puts a configuration in force. An error (one sentence) leaves the old one as it was.
    // Of `cut`, which `next` lacks, no packet passes with the new generation, known flow or not; what already
    // drains under that name goes too. Precondition: validate_config accepted it.
    Result<ApplyReport> apply(Config next, std::span<const BackendKey> cut = {});
    // Health's verdict: takes effect with the next republish().
    void set_traffic(BackendId id, MemberTraffic traffic) { traffic_.set(id, traffic); }
    void set_eligible(BackendId id, bool alive) { traffic_.set(id, alive); }
    [[nodiscard]] bool has_unpublished_traffic() const { return !traffic_.changed().empty(); }
    // A device came back with another MAC or MTU: as set_eligible.
    void set_port(PortId port, const MacAddress& mac, std::uint16_t mtu, bool can_send_chains) {
        PortFacts& facts = options_.ports[index(port)];
        facts.mac = mac;
        facts.mtu = mtu;
        facts.can_send_chains = can_send_chains;
    }
    // Whether workers may touch the port's queues: as set_eligible.
    void set_port_enabled(PortId port, bool enabled) { disabled_ports_.set(index(port), !enabled); }
    // Compiles and publishes again what is in force. Precondition: something is.
    ApplyReport republish();

    // What KernelWays::take_change() returned is compiled and published: backends concerned, ports'
    // addresses. Precondition: something is in force.
    ApplyReport apply_ways(const WaysChange& change);

    // Never blocks. Call it every tick_interval().
    void tick();
    // Short while a worker's answer is waited for.
    [[nodiscard]] std::chrono::milliseconds tick_interval() const;
    // Every worker uses the newest generation.
    [[nodiscard]] bool in_force() const;
    // No worker uses anything older than `generation`, nor ever will: what it did before has been done. As of
    // the last tick().
    [[nodiscard]] bool settled_since(std::uint64_t generation) const {
        const ForwardingSnapshot* oldest = published_.oldest();
        return oldest != nullptr && oldest->generation >= generation;
    }

    // Null before the first apply().
    [[nodiscard]] const Config* config() const { return config_.get(); }
    [[nodiscard]] const IdRegistry& ids() const { return ids_; }
    [[nodiscard]] const CompiledWorld& compiled() const { return compiled_; }
    [[nodiscard]] const ForwardingSnapshot* snapshot() const { return published_.current(); }
    [[nodiscard]] const Published<ForwardingSnapshot>& published() const { return published_; }
    [[nodiscard]] std::uint64_t generation() const { return generation_; }
    // Where packets may have to go, draining backends included.
    [[nodiscard]] std::vector<IpAddress> destinations() const;
    // The newest generation that differs from the one before in names, ids, or who drains.
    [[nodiscard]] std::uint64_t named_generation() const { return named_generation_; }
    [[nodiscard]] std::span<WorkerCounters* const> workers() const { return workers_; }
    // From publication to the last worker's answer, as seen by tick().
    [[nodiscard]] const DurationHistogram& publish_durations() const { return publish_durations_; }
    // The newest snapshot's, published or held back.
    [[nodiscard]] std::uint64_t checksum() const { return checksum_; }
    [[nodiscard]] const CounterBases& counter_bases() const { return counter_bases_; }
    [[nodiscard]] std::uint64_t missed_deadlines() const { return missed_deadlines_; }
    [[nodiscard]] std::size_t retired() const { return retired_; }
    void reached(ReloadStep step) const {
        if (options_.hook) options_.hook(step);
    }
    void notify(Severity severity, const std::string& sentence) const {
        if (options_.notify) options_.notify(severity, sentence);
    }

  private:
    using Time = std::chrono::steady_clock::time_point;
    struct Pending {
        std::uint64_t generation;
        Time published;
    };
    [[nodiscard]] Result<void> check_ports(const Config& next) const;
    void want_ways(const ConfigDelta& delta) const;
    ApplyReport compile_and_publish(const ConfigDelta& delta, Time begun, const WaysChange* ways = nullptr);
    void prepare_counters();
    void publish(std::unique_ptr<const ForwardingSnapshot> snapshot);
    void reclaim();
    void settle(Time now);
    void check_deadline(Time now);

    WorldOptions options_;
    std::span<WorkerCounters* const> workers_;
    std::unique_ptr<const Config> config_;
    IdRegistry ids_;
    IdRegistry::Reused reused_;  // by the configuration that is being compiled
    TrafficPlan traffic_;
    std::bitset<kMaxPorts> disabled_ports_;
    CompiledWorld compiled_;
    Published<ForwardingSnapshot> published_;
    std::unique_ptr<const ForwardingSnapshot> held_;  // newest, while too many old ones are kept alive
    std::uint64_t generation_ = 0;                    // compiled last
    std::uint64_t named_generation_ = 0;
    std::uint64_t checksum_ = 0;
    CounterBases counter_bases_;
    std::size_t retired_ = 0;
    std::deque<Pending> pending_;       // published, not yet taken by every worker
    std::vector<std::uint64_t> named_;  // by worker: newest generation it was named for
    std::uint64_t missed_deadlines_ = 0;
    DurationHistogram publish_durations_;
};

}  // namespace weir
