// Updates that race with the first packets of flows (SilkRoad's case, reliability case B-9): two workers of
// the product on threads of their own, while the control thread adds, removes and weighs backends and lets
// some fail and recover, and a peer that judges every packet. Run with TSan too.
#include <atomic>
#include <deque>
#include <random>
#include <thread>

#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/monitored_world.h"
#include "tests/support/ring_peer.h"
#include "tests/support/running_worker.h"
#include "tests/support/sanitized.h"

namespace weir::test {
namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr unsigned kWorkers = RingDevice::kQueues;
constexpr std::uint32_t kFlows = kSanitized ? 8'000 : 100'000, kChanges = kSanitized ? 300 : 3'000;
constexpr std::uint32_t kPacketsOfFlow = 10;

// The backends are 10.1.7.N. Those of the first kind always serve and change their weights, those of the
// second come and go (and drain), those of the third fail and recover.
constexpr unsigned kSteady = 6, kFirstGuest = 10, kGuests = 16, kFirstFrail = 40, kFrail = 8;
constexpr bool is_frail(unsigned n) { return n >= kFirstFrail; }
IpAddress address_of(unsigned n) { return ip("10.1.7." + std::to_string(n)); }

// By frail backend: odd while it is dead and every worker has said so.
using Epochs = std::array<std::uint32_t, kFrail>;

// The control core, with its random changes.
class Control {
  public:
    Control(World& world, HealthMonitor& monitor, AnsweredProbes& probes)
        : world_(world), monitor_(monitor), probes_(probes) {
        for (unsigned n = 1; n <= kSteady; ++n) weights_[n] = 2;
        for (unsigned n = 0; n < kFrail; ++n) weights_[kFirstFrail + n] = 2;
        apply();
        monitor_.start(probes_);
        for (const auto& [n, weight] : weights_) probes_.answer(address_of(n), true);
        monitor_.flush(world_);
    }
    void start() {
        thread_ = std::thread([this] { run(); });
    }
    void join() { thread_.join(); }
    [[nodiscard]] Epochs epochs() const {
        Epochs now;
        for (unsigned n = 0; n < kFrail; ++n) now[n] = epochs_[n].load(std::memory_order_acquire);
        return now;
    }
    std::atomic<std::uint64_t> packets{0};  // judged so far
    std::atomic<bool> given_up{false};
    std::uint32_t done = 0, acknowledged_deaths = 0;

  private:
    void apply() {
        Config made = edge_config();
        std::vector<BackendConfig> backends;
        for (const auto& [n, weight] : weights_)
            backends.push_back(backend("k" + std::to_string(n), "10.1.7." + std::to_string(n), weight));
        made.pools = {pool("kept", std::move(backends))};
        made.pools[0].table_size = 251;
        HealthCheckConfig& check = made.pools[0].health_check.emplace();
        check.healthy_threshold = check.unhealthy_threshold = 1;
        made.services = {service("kept", "203.0.113.20", "kept")};
        made.services[0].udp = true;
        EXPECT_TRUE(world_.apply(std::move(made)));
    }
    void run() {
        for (; done < kChanges; ++done) {
            const std::uint64_t due = std::uint64_t{done} * kFlows * kPacketsOfFlow / kChanges;
            while (packets.load(std::memory_order_relaxed) < due && !given_up.load()) {
                std::this_thread::sleep_for(std::chrono::microseconds(20));
                tick();
            }
            change();
            tick();
        }
        const auto deadline = Clock::now() + seconds(20);
        while ((!world_.in_force() || world_.retired() != 0) && Clock::now() < deadline) tick();
        EXPECT_TRUE(world_.in_force());
    }
    void tick() {
        world_.tick();
        monitor_.tick(world_);
        if (!world_.in_force()) return;
        for (unsigned n = 0; n < kFrail; ++n) {
            if (!dead_[n] || epochs_[n].load(std::memory_order_relaxed) % 2 != 0) continue;
            epochs_[n].fetch_add(1, std::memory_order_release);
            ++acknowledged_deaths;
        }
    }
    void change() {
        const unsigned kind = static_cast<unsigned>(random_() % 4);
        if (kind == 0) {
            weights_[1 + static_cast<unsigned>(random_() % kSteady)] =
                1 + static_cast<unsigned>(random_() % 4);
            apply();
        } else if (kind == 1) {
            const unsigned n = kFirstGuest + static_cast<unsigned>(random_() % kGuests);
            if (weights_.erase(n) == 0) weights_[n] = 2;
            apply();
            probes_.answer(address_of(n), true);
            monitor_.flush(world_);
        } else {
            fail_or_recover(static_cast<unsigned>(random_() % kFrail));
        }
    }
    void fail_or_recover(unsigned n) {
        if (dead_[n] && epochs_[n].load(std::memory_order_relaxed) % 2 != 0)
            epochs_[n].fetch_add(1, std::memory_order_release);
        dead_[n] = !dead_[n];
        probes_.answer(address_of(kFirstFrail + n), !dead_[n]);
        monitor_.flush(world_);
    }

    World& world_;
    HealthMonitor& monitor_;
    AnsweredProbes& probes_;
    std::thread thread_;
    std::mt19937 random_{11};
    std::map<unsigned, unsigned> weights_;
    std::array<bool, kFrail> dead_{};
    std::array<std::atomic<std::uint32_t>, kFrail> epochs_{};
};

// Flows of ten packets, many of them open at once, so that changes fall between any two packets of one. A
// packet's tag is the place of its record, which says how things stood when it was sent.
class Flows {
  public:
    explicit Flows(const Control& control) : control_(control), home_(kFlows, 0) {
        for (unsigned q = 0; q < kWorkers; ++q)
            for (std::uint32_t n = 0; n < kOpen; ++n) open_[q].push_back({next_flow(q), 0});
    }
    // The next packet of the queue, and its tag; nothing when all flows have ended.
    std::optional<std::pair<Bytes, std::uint32_t>> next(unsigned queue) {
        std::deque<Open>& open = open_[queue];
        if (open.empty()) return std::nullopt;
        Open flow = open.front();
        open.pop_front();
        if (++flow.sent < kPacketsOfFlow)
            open.push_back(flow);
        else if (started_[queue] < kFlows / kWorkers)
            open.push_back({next_flow(queue), 0});
        const std::uint32_t tag = sent_++ % kRecords;
        records_[tag] = {flow.number, control_.epochs()};
        return std::pair(udp_frame(client_flow(flow.number, ip("203.0.113.20"))), tag);
    }
    void judge(std::uint32_t tag, std::span<const std::uint8_t> bytes) {
        const Record& record = records_[tag];
        const unsigned backend = bytes[33];
        ++packets;
        if (is_frail(backend)) {
            const unsigned n = backend - kFirstFrail;
            const std::uint32_t then = record.epochs[n];
            to_dead += then % 2 != 0 && control_.epochs()[n] == then ? 1 : 0;
        }
        unsigned& home = home_[record.flow];
        if (home != 0 && home != backend) ++(is_frail(home) ? moved : splits);
        home = backend;
    }
    std::uint64_t splits = 0, moved = 0, to_dead = 0, packets = 0;

  private:
    static constexpr std::uint32_t kOpen = 997, kRecords = 1'024;
    static_assert(kRecords >= kWorkers * Peer::kInFlight);
    struct Open {
        std::uint32_t number;
        unsigned sent;
    };
    struct Record {
        std::uint32_t flow;
        Epochs epochs;
    };
    std::uint32_t next_flow(unsigned queue) { return started_[queue]++ * kWorkers + queue; }

    const Control& control_;
    std::array<std::deque<Open>, kWorkers> open_;
    std::array<std::uint32_t, kWorkers> started_{};
    std::vector<unsigned> home_;  // by flow: last byte of its backend's address
    std::array<Record, kRecords> records_{};
    std::uint32_t sent_ = 0;
};

class FirstPackets : public DriversTest {
  protected:
    FirstPackets() {
        for (std::uint16_t w = 0; w < kWorkers; ++w)
            workers_.push_back(std::make_unique<RunningWorker>(
                w, std::vector{device_.queues(w)}, counters_[w], world_.published(), 131'072, true));
    }
    // They read what the world has published.
    ~FirstPackets() override { workers_.clear(); }
    WorldOptions options() {
        WorldOptions made;
        made.ports = edge_facts();
        made.derive_unknown_macs = true;
        made.assigned = [this](World& to, const ConfigDelta& delta) { monitor_.assigned(to, delta); };
        made.wake_workers = [this] {
            for (const auto& worker : workers_) worker->wake();
        };
        return made;
    }
    // Every flow's packets through their worker.
    void exchange(Flows& flows) {
        const auto judge = [&](std::uint32_t tag, std::span<const std::uint8_t> bytes) {
            flows.judge(tag, bytes);
        };
        const auto deadline = Clock::now() + seconds(90);
        for (bool more = true; more && Clock::now() < deadline;) {
            more = false;
            for (unsigned q = 0; q < kWorkers; ++q) {
                while (peer_.may_send(q)) {
                    const auto packet = flows.next(q);
                    if (!packet) break;
                    peer_.send(q, packet->first, packet->second);
                    more = true;
                }
                more |= peer_.receive(q, judge) != 0 || !peer_.all_back();
            }
            control_.packets.store(flows.packets, std::memory_order_relaxed);
        }
        control_.given_up.store(true);
    }

    FramePool frames_{"first", 1023};
    CountingWorkers counters_{kWorkers};
    RingDevice device_{RTE_MAX_ETHPORTS - 1};
    AnsweredProbes probes_;
    HealthMonitor monitor_{{}};
    std::vector<std::unique_ptr<RunningWorker>> workers_;
    World world_{options(), counters_.all()};
    Control control_{world_, monitor_, probes_};
    Peer peer_{device_, frames_};
};

TEST_F(FirstPackets, NoFlowIsSplitWhoseFirstChoiceStaysInService) {
    Flows flows(control_);
    control_.start();
    exchange(flows);
    control_.join();
    for (const auto& worker : workers_) worker->stop();
    EXPECT_TRUE(peer_.all_back()) << "packets were lost";
    EXPECT_EQ(flows.packets, std::uint64_t{kFlows} * kPacketsOfFlow);
    EXPECT_EQ(control_.done, kChanges);
    EXPECT_EQ(flows.splits, 0u);
    EXPECT_EQ(flows.to_dead, 0u);
    EXPECT_GT(flows.moved, 0u) << "no flow of a dead backend was caught on its way";
    EXPECT_GT(control_.acknowledged_deaths, kChanges / 20);
    for (unsigned w = 0; w < kWorkers; ++w)
        EXPECT_EQ(counters_[w].flow_full.value() + counters_[w].flow_evictions.value() +
                      dropped_in_all(counters_[w]),
                  0u);
    print_figure(
        "%u changes (%u deaths acknowledged) against %u flows of %u packets: %llu split; %llu packets "
        "to dead backends after the acknowledgement; %llu moves away from dead ones",
        control_.done, control_.acknowledged_deaths, kFlows, kPacketsOfFlow,
        static_cast<unsigned long long>(flows.splits), static_cast<unsigned long long>(flows.to_dead),
        static_cast<unsigned long long>(flows.moved));
}

}  // namespace
}  // namespace weir::test
