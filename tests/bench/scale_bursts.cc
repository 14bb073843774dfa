// Does the control core's work reach the packets? One worker runs real bursts on a CPU of its own; phases in
// which the control core rests alternate with phases in which it changes 100 pools a second.
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "ctrl/world.h"
#include "dataplane/pipeline.h"
#include "drivers/eal.h"
#include "drivers/huge_memory.h"
#include "drivers/worker_cpus.h"
#include "tests/bench/samples.h"
#include "tests/bench/scale_bench.h"
#include "tests/support/large_config.h"
#include "tests/support/small_world.h"

namespace weir::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr unsigned kPhases = 15;  // of each kind
constexpr milliseconds kPhase{500}, kChangeEvery{10};
constexpr std::uint64_t kFlowSlots = 1 << 20;
constexpr std::uint16_t kKnownPorts = 64;  // times 1,000 services
constexpr double kWorstRatio = 1.5;

// Durations in TSC cycles; one writer, read between phases.
class Durations {
  public:
    void record(std::uint64_t cycles) noexcept {
        ++bins_[std::min<std::uint64_t>(cycles / kWidth, kBins - 1)];
        ++count_;
    }
    void clear() {
        bins_.fill(0);
        count_ = 0;
    }
    [[nodiscard]] std::uint64_t count() const { return count_; }
    // Microseconds.
    [[nodiscard]] double at(double share) const {
        const auto rank = static_cast<std::uint64_t>(share * static_cast<double>(count_));
        std::uint64_t seen = 0;
        std::size_t bin = 0;
        while (bin < kBins - 1 && (seen += bins_[bin]) <= rank) ++bin;
        return static_cast<double>((bin + 1) * kWidth) * 1e6 / static_cast<double>(rte_get_tsc_hz());
    }

  private:
    static constexpr std::size_t kBins = 16'384, kWidth = 32;
    std::array<std::uint32_t, kBins> bins_{};
    std::uint64_t count_ = 0;
};

void pin_to(unsigned cpu) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
}

// A worker of the product has its CPU for itself (isolcpus). As far as that is allowed, so has this thread:
// else the programs that the control core's work drives from the other CPU would be measured on this one.
void go_before_others() {
    const sched_param first{.sched_priority = 1};
    (void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
}

// The worker's thread: a poll loop whose device always has a burst ready. Most packets are of known flows,
// over all services; one of each burst opens a flow.
class BusyWorker {
  public:
    BusyWorker(const World& world, WorkerCounters& counters, unsigned cpu, unsigned services)
        : memory_(std::move(*HugeMemory::allocate(FlowTable::bytes_for(kFlowSlots), false))),
          pipeline_(memory_.bytes().first(FlowTable::bytes_for(kFlowSlots)), HashKey::zero(), counters),
          counters_(counters) {
        for (unsigned s = 0; s < services; ++s)
            frames_.push_back(test::udp_frame({.source = ip("198.18.0.1"),
                                               .destination = ip(test::vip_of(s)),
                                               .source_port = 0,
                                               .destination_port = test::kFirstServicePort},
                                              18, false));
        thread_ = std::thread([this, &world, cpu] { run(world, cpu); });
    }
    ~BusyWorker() {
        stop_.store(true, std::memory_order_relaxed);
        thread_.join();
    }
    BusyWorker(const BusyWorker&) = delete;
    BusyWorker& operator=(const BusyWorker&) = delete;

    // Begins a new histogram; the old one is whole once this has returned.
    Durations next_phase() {
        hand_over_.store(true, std::memory_order_release);
        while (hand_over_.load(std::memory_order_acquire)) std::this_thread::yield();
        return finished_;
    }

  private:
    void run(const World& world, unsigned cpu) {
        pin_to(cpu);
        go_before_others();
        if (rte_thread_register() != 0) std::abort();
        {
            const test::FramePool frames("bursts", 1'023);
            const Published<ForwardingSnapshot>::Reader reader(world.published(), 0);
            while (!stop_.load(std::memory_order_relaxed)) {
                one_loop(frames, reader);
                if (!hand_over_.load(std::memory_order_acquire)) continue;
                finished_ = current_;
                current_.clear();
                hand_over_.store(false, std::memory_order_release);
            }
            reader.leave();
        }
        rte_thread_unregister();
    }
    void one_loop(const test::FramePool& frames, const Published<ForwardingSnapshot>::Reader& reader) {
        Burst burst(PortId{0});
        burst.size = kBurstSize;
        for (std::uint32_t i = 0; i < kBurstSize; ++i) burst.packet[i] = next_frame(frames, i == 0);
        const std::uint64_t begun = rte_rdtsc();
        const ForwardingSnapshot& snapshot = *reader.latch();
        counters_.snapshot_generation.set(snapshot.generation);
        const Tick now{static_cast<std::uint32_t>(begun / (rte_get_tsc_hz() / kTicksPerSecond))};
        pipeline_.run(burst, snapshot, now);
        pipeline_.flush(snapshot, [this](PortId) -> test::TestWire& { return wire_; });
        pipeline_.sweep(snapshot, now, kSweptBuckets);
        reader.quiescent();
        current_.record(rte_rdtsc() - begun);
        rte_pktmbuf_free_bulk(wire_.taken.data(), static_cast<unsigned>(wire_.taken.size()));
        wire_.taken.clear();
        wire_.room = ~0u;
    }
    rte_mbuf* next_frame(const test::FramePool& frames, bool new_flow) {
        random_ = random_ * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u;
        const auto random = static_cast<std::uint32_t>(random_ >> 32);
        test::Bytes& frame = frames_[random % frames_.size()];
        constexpr std::size_t kSourcePort = 14 + 20;
        test::put_word(frame, kSourcePort,
                       new_flow ? static_cast<std::uint16_t>(kKnownPorts + 1 + ++opened_ % 50'000)
                                : static_cast<std::uint16_t>(1 + (random >> 16) % kKnownPorts));
        return frames.frame(frame);
    }

    static constexpr std::uint32_t kSweptBuckets = 2;  // as a busy Worker
    HugeMemory memory_;
    Pipeline pipeline_;
    WorkerCounters& counters_;
    std::vector<test::Bytes> frames_;  // by service
    test::TestWire wire_;
    std::uint64_t random_ = 1, opened_ = 0;
    Durations current_, finished_;
    std::atomic<bool> hand_over_{false}, stop_{false};
    std::thread thread_;
};

// What `weir run` does every 10 ms, with a verdict of health's before it.
class ControlCore {
  public:
    explicit ControlCore(World& world) : world_(world) {}
    void phase(bool changing) {
        const auto end = Clock::now() + kPhase;
        for (auto next = Clock::now(); next < end; next += kChangeEvery) {
            std::this_thread::sleep_until(next);
            if (changing) change();
            world_.tick();
        }
    }
    [[nodiscard]] const Samples& changes() const { return changes_cost_; }
    [[nodiscard]] const std::vector<double>& faults() const { return faults_; }

  private:
    void change() {
        const BackendId id{changes_ / 2 * 7'919 % world_.ids().backend_ids()};
        const std::int64_t faults = page_faults();
        changes_cost_.take([&] {
            world_.set_eligible(id, changes_++ % 2 != 0);
            world_.republish();
        });
        faults_.push_back(static_cast<double>(page_faults() - faults));
    }
    static std::int64_t page_faults() {
        rusage usage{};
        getrusage(RUSAGE_THREAD, &usage);
        return usage.ru_minflt;
    }
    World& world_;
    std::uint32_t changes_ = 0;
    Samples changes_cost_;
    std::vector<double> faults_;
};

struct Phases {
    std::vector<double> p50, p99, p999, p9999, bursts;
    void add(const Durations& durations) {
        p50.push_back(durations.at(0.5));
        p99.push_back(durations.at(0.99));
        p999.push_back(durations.at(0.999));
        p9999.push_back(durations.at(0.9999));
        bursts.push_back(static_cast<double>(durations.count()));
    }
    void add_to(Report& report, const std::string& name) const {
        report.add(name + ", bursts a phase", median(bursts), "");
        report.add(name + ", p50", median(p50), "us");
        report.add(name + ", p99", median(p99), "us");
        report.add(name + ", p99.9", median(p999), "us");
        report.add(name + ", p99.99", median(p9999), "us");
    }
};

}  // namespace

void measure_bursts(Report& report) {
    const std::vector<unsigned> cpus = usable_cpus();
    if (cpus.size() < 2) return report.add("bursts: CPUs missing (two are needed)", 1, "", 0);
    EalOptions options;
    options.control_cpu = cpus[0];
    options.hugepages = false;
    options.memory = 64u << 20;
    const auto eal = Eal::start(options);
    if (!eal) {
        std::fprintf(stderr, "%s\n", eal.error().message.c_str());
        return report.add("bursts: DPDK did not start", 1, "", 0);
    }
    pin_to(cpus[0]);
    CountingWorkers counters(1);
    WorldOptions world_options;
    world_options.ports = edge_facts();
    World world(std::move(world_options), counters.all());
    const test::ConfigSize size;
    if (!world.apply(test::large_config(size))) std::abort();

    BusyWorker worker(world, counters[0], cpus[1], size.services);
    ControlCore control(world);
    Phases quiet, changing;
    for (unsigned warm_up = 0; warm_up < 4; ++warm_up) control.phase(false);
    for (unsigned n = 0; n < kPhases; ++n)
        for (const bool change : {false, true}) {
            worker.next_phase();
            control.phase(change);
            (change ? changing : quiet).add(worker.next_phase());
        }
    quiet.add_to(report, "bursts: control core rests");
    changing.add_to(report, "bursts: 100 changes a second");
    report.add("bursts: p99.9 with changes / without", median(changing.p999) / median(quiet.p999), "",
               kWorstRatio);
    control.changes().add_to(report, "bursts: a change, 100 a second", 5);
    report.add("bursts: page faults of a change, median", median(control.faults()), "");
    std::uint64_t dropped = 0;
    for (const Counter& reason : counters[0].dropped) dropped += reason.value();
    report.add("bursts: packets dropped", static_cast<double>(dropped), "", 0);
}

}  // namespace weir::bench
