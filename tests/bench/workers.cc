#include "tests/bench/workers.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <array>
#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "tests/bench/lane.h"
#include "tests/bench/measure.h"

namespace weir::bench {

namespace {

constexpr unsigned kWorkers = 2, kFirst = 1, kSecond = 2, kBoth = 3;  // as bits of a set
constexpr unsigned kRounds = 21, kMostRounds = 30;
constexpr double kPhaseSeconds = 0.020;
// A worker that had its CPU for less of a phase has shared it with other programs; and then its companion was
// alone for a while.
constexpr double kLeastShare = 0.97;

using MakeLane = std::function<std::unique_ptr<Lane>(const Mbufs&)>;

class OwnMbufs {
  public:
    explicit OwnMbufs(unsigned worker) {
        const std::string name = "workers" + std::to_string(worker);
        pool_ = rte_pktmbuf_pool_create(name.c_str(), 2 * kBatch - 1, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                        SOCKET_ID_ANY);
        if (pool_ != nullptr && rte_pktmbuf_alloc_bulk(pool_, mbufs_.data(), kBatch) == 0) return;
        std::fprintf(stderr, "bench: no memory for the mbufs of a second worker\n");
        std::exit(2);
    }
    ~OwnMbufs() {
        rte_pktmbuf_free_bulk(mbufs_.data(), kBatch);
        rte_mempool_free(pool_);
    }
    OwnMbufs(const OwnMbufs&) = delete;
    OwnMbufs& operator=(const OwnMbufs&) = delete;

    [[nodiscard]] const Mbufs& all() const noexcept { return mbufs_; }

  private:
    rte_mempool* pool_ = nullptr;
    Mbufs mbufs_;
};

void pin_to(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0) return;
    std::fprintf(stderr, "bench: cannot run on CPU %u\n", cpu);
    std::exit(2);
}

double thread_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Phase {
    double cycles = 0;  // of the median slice: time slices of other programs fall into few of them
    bool disturbed = false;
};

// Two threads that do as they are told, phase by phase. Who is not in a phase sleeps, as its CPU may be the
// other's twin.
class Workers {
  public:
    Workers(const std::vector<unsigned>& cpus, const MakeLane& make) {
        for (unsigned id = 0; id < kWorkers; ++id)
            threads_[id] = std::thread([this, id, cpu = cpus[id], &make] { serve(id, cpu, make); });
        wait_for_all();
    }
    ~Workers() {
        order(0, true);
        for (std::thread& thread : threads_) thread.join();
    }
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    // Those of the workers in the set `who` have meaning.
    std::array<Phase, kWorkers> run(unsigned who) {
        order(who, false);
        wait_for_all();
        return outcome_;
    }

  private:
    void order(unsigned who, bool end) {
        const std::lock_guard lock(mutex_);
        who_ = who;
        end_ = end;
        done_ = 0;
        arrived_ = 0;
        ++phase_;
        changed_.notify_all();
    }
    void wait_for_all() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return done_ == kWorkers; });
    }
    void serve(unsigned id, unsigned cpu, const MakeLane& make) {
        pin_to(cpu);
        const OwnMbufs mbufs(id);
        const std::unique_ptr<Lane> lane = make(mbufs.all());
        for (unsigned served = 0;; ++served) {
            std::unique_lock lock(mutex_);
            ++done_;
            changed_.notify_all();
            changed_.wait(lock, [this, served] { return phase_ > served; });
            if (end_) return;
            const unsigned who = who_;
            lock.unlock();
            if ((who >> id & 1) != 0) outcome_[id] = phase(*lane, mbufs.all(), std::popcount(who));
        }
    }
    Phase phase(Lane& lane, const Mbufs& mbufs, int participants) {
        (void)lane.slice(mbufs);  // after a sleep: caches and clock
        ++arrived_;
        while (arrived_ < participants) rte_pause();
        const double own = thread_seconds();
        const std::uint64_t start = fenced_tsc();
        const auto length = static_cast<std::uint64_t>(kPhaseSeconds * static_cast<double>(rte_get_tsc_hz()));
        std::vector<double> slices;
        std::uint64_t now = start;
        for (; now - start < length; now = fenced_tsc()) slices.push_back(lane.slice(mbufs));
        const double wall = static_cast<double>(now - start) / static_cast<double>(rte_get_tsc_hz());
        return {median_of(std::move(slices)), thread_seconds() - own < kLeastShare * wall};
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    unsigned phase_ = 0, who_ = 0, done_ = 0;
    bool end_ = false;
    std::atomic<int> arrived_ = 0;
    std::array<Phase, kWorkers> outcome_;
    std::array<std::thread, kWorkers> threads_;
};

// Three phases in turn: each alone, and both. Every other round runs backwards.
struct Round {
    std::array<double, kWorkers> alone{}, together{};
    bool disturbed = false;

    Round(Workers& workers, bool backwards) {
        const std::array<unsigned, 3> order =
            backwards ? std::array{kSecond, kBoth, kFirst} : std::array{kFirst, kBoth, kSecond};
        for (const unsigned who : order) {
            const auto outcome = workers.run(who);
            for (unsigned id = 0; id < kWorkers; ++id) {
                if ((who >> id & 1) == 0) continue;
                (who == kBoth ? together : alone)[id] = outcome[id].cycles;
                disturbed |= outcome[id].disturbed;
            }
        }
    }
    [[nodiscard]] double scaling() const noexcept { return alone[0] / together[0] + alone[1] / together[1]; }
};

std::optional<Scaling> measure(const std::vector<unsigned>& cpus, const MakeLane& make) {
    if (cpus.size() < kWorkers) return std::nullopt;
    Workers workers(cpus, make);
    std::vector<Round> all, good;
    while (good.size() < kRounds && all.size() < kMostRounds) {
        all.emplace_back(workers, all.size() % 2 == 1);
        if (!all.back().disturbed) good.push_back(all.back());
    }
    std::vector<double> together, alone, scaling;
    for (const Round& round : good.empty() ? all : good) {
        scaling.push_back(round.scaling());
        together.insert(together.end(), round.together.begin(), round.together.end());
        alone.insert(alone.end(), round.alone.begin(), round.alone.end());
    }
    return Scaling{.cycles_min = least_of(together),
                   .cycles_median = median_of(together),
                   .alone_cycles_median = median_of(alone),
                   .scaling = median_of(scaling),
                   .rounds = static_cast<unsigned>(all.size()),
                   .disturbed = static_cast<unsigned>(all.size() - good.size())};
}

// Its figures are worth something only if every packet was forwarded.
class CheckedLane final : public Lane {
  public:
    CheckedLane(const Row& row, const Mbufs& mbufs) : lane_(row, mbufs) {}
    ~CheckedLane() override { lane_.check_all_forwarded(); }
    double slice(const Mbufs& mbufs) override { return lane_.slice(mbufs); }

  private:
    WeirLane lane_;
};

// A chain of multiplications and rotations, each of which needs the one before; nothing leaves the registers.
class ArithmeticLane final : public Lane {
  public:
    double slice(const Mbufs&) override {
        constexpr std::uint32_t kSteps = 32;  // as long a slice as packets make
        std::uint64_t value = value_;
        const double cycles = timed_slice([] {},
                                          [&value] {
                                              for (std::uint32_t i = 0; i < kSteps * kBatch; ++i)
                                                  value = std::rotl(value * 0x9e37'79b9'7f4a'7c15 + 1, 17);
                                          });
        value_ = value;
        return cycles / kSteps;
    }

  private:
    volatile std::uint64_t value_ = 1;  // or the compiler would leave the loop out
};

}  // namespace

std::optional<Scaling> scaling_of(const Row& row, const std::vector<unsigned>& cpus) {
    return measure(cpus, [&row](const Mbufs& mbufs) { return std::make_unique<CheckedLane>(row, mbufs); });
}

std::optional<Scaling> scaling_of_arithmetic(const std::vector<unsigned>& cpus) {
    return measure(cpus, [](const Mbufs&) { return std::make_unique<ArithmeticLane>(); });
}

}  // namespace weir::bench
