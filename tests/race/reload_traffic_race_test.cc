// Reloads under traffic: two workers of the product on threads of their own, a control thread that reloads or
// stands still between two steps of a reload, and a peer that judges every frame. Run with TSan too.
#include <chrono>
#include <deque>
#include <random>
#include <thread>

#include "ctrl/reload.h"
#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/reload_gate.h"
#include "tests/support/ring_peer.h"
#include "tests/support/running_worker.h"
#include "tests/support/sanitized.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr unsigned kWorkers = RingDevice::kQueues;
constexpr std::uint32_t kFlows = kSanitized ? 8'000 : 100'000, kReloads = kSanitized ? 200 : 1'000;
constexpr std::uint32_t kPacketsOfFlow = 10;

// Two services. "web" (203.0.113.10, TCP) differs in everything between the two sides of a reload: mode and
// backends. "kept" (203.0.113.20, UDP over IPIP) has the backends 10.1.7.N of `kept`.
Config config_of(bool other_side, const std::vector<unsigned>& kept) {
    Config config = edge_config();
    const std::string net = other_side ? "10.1.4." : "10.1.3.", name = other_side ? "new" : "old";
    std::vector<BackendConfig> web, kept_backends;
    for (const char* n : {"1", "2", "3"}) web.push_back(backend(name + n, net + n));
    for (const unsigned n : kept)
        kept_backends.push_back(backend("k" + std::to_string(n), "10.1.7." + std::to_string(n)));
    config.pools = {pool("web", std::move(web)), pool("kept", std::move(kept_backends))};
    for (PoolConfig& pool : config.pools) pool.table_size = 251;
    config.services = {
        service("web", "203.0.113.10", "web", other_side ? ForwardingMode::gue : ForwardingMode::ipip),
        service("kept", "203.0.113.20", "kept")};
    config.services[1].udp = true;
    return config;
}

Tuple web_flow(std::uint32_t n) { return client_flow(n, ip("203.0.113.10")); }
Tuple kept_flow(std::uint32_t n) { return client_flow(n, ip("203.0.113.20")); }

// What a world that nobody reloads makes of the frames.
std::vector<Bytes> output_of(const Config& config, const std::vector<Bytes>& frames, const FramePool& pool) {
    SmallWorld world(config);
    std::vector<Bytes> sent;
    for (const Bytes& frame : frames) {
        rte_mbuf* packet = pool.frame(frame);
        world.worker().run({&packet, 1}, Tick{1});
        for (Bytes& bytes : world.worker().take()) sent.push_back(std::move(bytes));
    }
    return sent;
}

// A world, its workers and their device.
class Traffic {
  public:
    Traffic(const Config& config, std::function<void(ReloadStep)> hook, const FramePool& pool)
        : counters_(kWorkers),
          world_(options(std::move(hook), workers_), counters_.all()),
          peer_(device_, pool) {
        EXPECT_TRUE(world_.apply(config));
        for (std::uint16_t w = 0; w < kWorkers; ++w)
            workers_.push_back(std::make_unique<RunningWorker>(
                w, std::vector{device_.queues(w)}, counters_[w], world_.published(), 131'072, true));
    }
    [[nodiscard]] World& world() { return world_; }
    [[nodiscard]] Peer& peer() { return peer_; }
    [[nodiscard]] WorkerCounters& counters(unsigned w) { return counters_[w]; }
    [[nodiscard]] bool all_use(std::uint64_t generation) {
        return counters_[0].snapshot_generation.value() >= generation &&
               counters_[1].snapshot_generation.value() >= generation;
    }
    // Control thread: until every worker uses the newest snapshot and the old ones are gone.
    void tick_until_settled() {
        const auto deadline = Clock::now() + seconds(20);
        while ((world_.retired() != 0 || !world_.in_force()) && Clock::now() < deadline) {
            world_.tick();
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
        EXPECT_TRUE(world_.in_force());
        EXPECT_EQ(world_.retired(), 0u);
    }
    // Stops the workers. Not a packet is lost, and each is counted once.
    void finish() {
        for (const auto& worker : workers_) worker->stop();
        EXPECT_TRUE(peer_.all_back()) << "packets were lost";
        for (unsigned w = 0; w < kWorkers; ++w) {
            EXPECT_EQ(counters_[w].received.value(), peer_.sent(w));
            EXPECT_EQ(counters_[w].forwarded.value(), peer_.sent(w));
            EXPECT_EQ(dropped_in_all(counters_[w]), 0u);
            std::uint64_t active = 0;
            for (std::uint32_t id = 0; id < world_.ids().backend_ids(); ++id)
                active += counters_[w].backends[id].active_flows.value();
            EXPECT_EQ(active, counters_[w].flow_entries.value());
        }
    }

  private:
    using Workers = std::vector<std::unique_ptr<RunningWorker>>;
    static WorldOptions options(std::function<void(ReloadStep)> hook, const Workers& workers) {
        WorldOptions made;
        made.ports = edge_facts();
        made.derive_unknown_macs = true;
        made.hook = std::move(hook);
        made.wake_workers = [&workers] {
            for (const auto& worker : workers) worker->wake();
        };
        return made;
    }
    CountingWorkers counters_;
    RingDevice device_{RTE_MAX_ETHPORTS - 1};
    World world_;
    Peer peer_;
    std::vector<std::unique_ptr<RunningWorker>> workers_;
};

// Frames of "web" that leave no trace (a RST makes no entry), with what either side makes of them; and flows
// of "kept" that stay where the first side put them.
struct Samples {
    std::vector<Bytes> web, kept;
    std::vector<Bytes> web_before, web_after, kept_before;

    Samples(const Config& before, const Config& after, const FramePool& pool) {
        for (std::uint32_t n = 0; n < 256; ++n) {
            web.push_back(tcp_frame(web_flow(n), kRst, n));
            kept.push_back(udp_frame(kept_flow(n), n));
        }
        web_before = output_of(before, web, pool);
        web_after = output_of(after, web, pool);
        kept_before = output_of(before, kept, pool);
    }
};

struct Tally {
    std::uint64_t before = 0, after = 0, kept = 0, wrong = 0;
    [[nodiscard]] std::uint64_t web() const { return before + after; }
};

class Judge {
  public:
    static constexpr std::uint32_t kKept = 1u << 31;
    explicit Judge(const Samples& samples) : samples_(samples) {}
    void operator()(std::uint32_t tag, std::span<const std::uint8_t> bytes) {
        const std::uint32_t n = tag & ~kKept;
        const auto is = [&](const Bytes& wanted) { return std::ranges::equal(bytes, wanted); };
        if ((tag & kKept) != 0)
            ++(is(samples_.kept_before[n]) ? tally.kept : tally.wrong);
        else if (is(samples_.web_before[n]))
            ++tally.before;
        else
            ++(is(samples_.web_after[n]) ? tally.after : tally.wrong);
    }
    Tally tally;

  private:
    const Samples& samples_;
};

class FrozenReloadTraffic : public DriversTest, public testing::WithParamInterface<ReloadStep> {
  protected:
    // Rounds of every sample through both workers, each flow at its own one.
    void exchange(Traffic& traffic, const Samples& samples, Judge& judge, unsigned rounds) {
        const auto deadline = Clock::now() + seconds(10);
        for (unsigned round = 0; round < rounds; ++round)
            for (std::uint32_t n = 0; n < samples.web.size(); ++n) {
                const unsigned queue = n % kWorkers;
                while (!traffic.peer().may_send(queue) && Clock::now() < deadline)
                    traffic.peer().receive(queue, judge);
                ASSERT_TRUE(traffic.peer().may_send(queue)) << "a worker stands still";
                if (round % 2 == 0)
                    traffic.peer().send(queue, samples.web[n], n);
                else
                    traffic.peer().send(queue, samples.kept[n], n | Judge::kKept);
            }
        traffic.peer().drain(judge, deadline);
        ASSERT_TRUE(traffic.peer().all_back()) << "a worker stands still";
    }
    FramePool frames_{"frozen", 1023};
};

TEST_P(FrozenReloadTraffic, EveryPacketSeesOneWholeConfiguration) {
    const ReloadStep step = GetParam();
    const Config before = config_of(false, {1, 2, 3}), after = config_of(true, {1, 3, 4, 5, 6});
    const Samples samples(before, after, frames_);
    {
        ReloadGate gate;
        Traffic traffic(
            before, [&](ReloadStep reached) { gate.pass(reached); }, frames_);
        Judge first(samples);
        exchange(traffic, samples, first, 4);
        EXPECT_EQ(first.tally.before, 512u);
        EXPECT_EQ(first.tally.kept, 512u);

        gate.close_at(step);
        std::thread control([&] {
            Reloader reloader(traffic.world(), "file", [&](const std::string&) {
                return ConfigResult{after, {}};
            });
            EXPECT_TRUE(reloader.reload());
            traffic.tick_until_settled();
        });
        EXPECT_TRUE(gate.wait_until_frozen());
        const bool is_out = step == ReloadStep::published || step == ReloadStep::reclaimed;
        const auto deadline = Clock::now() + seconds(10);
        while (is_out && !traffic.all_use(2) && Clock::now() < deadline) std::this_thread::yield();
        Judge frozen(samples);
        exchange(traffic, samples, frozen, 20);
        EXPECT_EQ(frozen.tally.before, is_out ? 0u : 2560u);
        EXPECT_EQ(frozen.tally.after, is_out ? 2560u : 0u);
        EXPECT_EQ(frozen.tally.kept, 2560u);

        gate.open();
        Judge onward(samples);
        exchange(traffic, samples, onward, 8);  // the rest of the reload happens under this
        control.join();
        Judge last(samples);
        exchange(traffic, samples, last, 4);
        EXPECT_EQ(last.tally.after, 512u);
        for (const Judge& judge : {first, frozen, onward, last}) EXPECT_EQ(judge.tally.wrong, 0u);
        EXPECT_EQ(onward.tally.kept + last.tally.kept, 1024u + 512u);
        EXPECT_EQ(traffic.world().missed_deadlines(), 0u);
        traffic.finish();
    }
    EXPECT_EQ(frames_.in_use(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Steps, FrozenReloadTraffic,
                         testing::Values(ReloadStep::read, ReloadStep::validated, ReloadStep::compiled,
                                         ReloadStep::before_publish, ReloadStep::published,
                                         ReloadStep::reclaimed));

// Flows of ten packets, many of them open at once, so that reloads fall between any two packets of one, the
// first two included (reliability case B-9).
class TenPacketFlows {
  public:
    TenPacketFlows() : home_(kFlows, 0) {
        for (unsigned q = 0; q < kWorkers; ++q)
            for (std::uint32_t slot = 0; slot < kOpen; ++slot) open_[q].push_back({next_flow(q), 0});
    }
    // The next flow of the queue to send a packet; nothing when all have ended.
    std::optional<std::uint32_t> next(unsigned queue) {
        std::deque<Open>& open = open_[queue];
        if (open.empty()) return std::nullopt;
        Open flow = open.front();
        open.pop_front();
        if (++flow.sent < kPacketsOfFlow)
            open.push_back(flow);
        else if (started_[queue] < kFlows / kWorkers)
            open.push_back({next_flow(queue), 0});
        return flow.number;
    }
    void judge(std::uint32_t number, std::span<const std::uint8_t> bytes) {
        const std::uint32_t backend = std::uint32_t{bytes[30]} << 24 | std::uint32_t{bytes[31]} << 16 |
                                      std::uint32_t{bytes[32]} << 8 | bytes[33];
        if (home_[number] == 0) home_[number] = backend;
        splits += home_[number] != backend ? 1 : 0;
        ++packets;
    }
    std::uint64_t splits = 0, packets = 0;

  private:
    static constexpr std::uint32_t kOpen = 97;
    struct Open {
        std::uint32_t number;
        unsigned sent;
    };
    std::uint32_t next_flow(unsigned queue) { return started_[queue]++ * kWorkers + queue; }

    std::array<std::deque<Open>, kWorkers> open_;
    std::array<std::uint32_t, kWorkers> started_{};
    std::vector<std::uint32_t> home_;
};

// The control thread's part: `kReloads` reloads, spread evenly over the traffic.
class ManyReloads {
  public:
    explicit ManyReloads(Traffic& traffic) : traffic_(traffic), thread_([this] { run(); }) {}
    void join() { thread_.join(); }
    std::atomic<std::uint64_t> packets{0};  // judged so far
    std::atomic<bool> given_up{false};
    std::uint32_t done = 0;

  private:
    void run() {
        std::mt19937 random(7);
        std::vector<unsigned> kept{1, 2, 3, 4, 5, 6};
        for (; done < kReloads; ++done) {
            const std::uint64_t due = std::uint64_t{done} * kFlows * kPacketsOfFlow / kReloads;
            while (packets.load(std::memory_order_relaxed) < due && !given_up.load())
                std::this_thread::sleep_for(std::chrono::microseconds(20));
            const auto n = static_cast<unsigned>(1 + random() % 40);
            const auto place = std::ranges::find(kept, n);
            if (place == kept.end())
                kept.push_back(n);
            else if (kept.size() > 3)
                kept.erase(place);
            EXPECT_TRUE(traffic_.world().apply(config_of(done % 2 == 0, kept)));
            traffic_.world().tick();
        }
        traffic_.tick_until_settled();
    }
    Traffic& traffic_;
    std::thread thread_;
};

using ReloadTraffic = DriversTest;

TEST_F(ReloadTraffic, ManyReloadsSplitNoFlowAndLoseNoPacket) {
    FramePool frames("many", 1023);
    const Config before = config_of(false, {1, 2, 3, 4, 5, 6}), after = config_of(true, {1});
    const Samples samples(before, after, frames);
    {
        Traffic traffic(before, {}, frames);
        TenPacketFlows flows;
        Judge web(samples);
        const auto judge = [&](std::uint32_t tag, std::span<const std::uint8_t> bytes) {
            if ((tag & Judge::kKept) != 0)
                flows.judge(tag & ~Judge::kKept, bytes);
            else
                web(tag, bytes);
        };
        ManyReloads reloads(traffic);
        const auto deadline = Clock::now() + seconds(60);
        std::uint32_t turn = 0;
        for (bool more = true; more && Clock::now() < deadline;) {
            more = false;
            for (unsigned q = 0; q < kWorkers; ++q) {
                while (traffic.peer().may_send(q)) {
                    const auto flow = flows.next(q);
                    if (!flow) break;
                    traffic.peer().send(q, udp_frame(kept_flow(*flow)), *flow | Judge::kKept);
                    more = true;
                    if (++turn % 8 != 0 || !traffic.peer().may_send(q)) continue;
                    traffic.peer().send(q, samples.web[turn / 8 % 256], turn / 8 % 256);
                }
                more |= traffic.peer().receive(q, judge) != 0 || !traffic.peer().all_back();
            }
            reloads.packets.store(flows.packets, std::memory_order_relaxed);
        }
        reloads.given_up.store(true);
        reloads.join();
        traffic.finish();
        EXPECT_EQ(reloads.done, kReloads);
        EXPECT_EQ(flows.packets, std::uint64_t{kFlows} * kPacketsOfFlow);
        EXPECT_EQ(flows.splits, 0u);
        EXPECT_EQ(web.tally.wrong, 0u);
        EXPECT_GT(web.tally.before, 0u);
        EXPECT_GT(web.tally.after, 0u);
        for (unsigned w = 0; w < kWorkers; ++w)
            EXPECT_EQ(traffic.counters(w).flow_full.value() + traffic.counters(w).flow_evictions.value(), 0u);
        print_figure(
            "%u reloads under traffic: %u flows of %u packets, %llu split; %llu packets of whole "
            "configurations, %llu of none",
            reloads.done, kFlows, kPacketsOfFlow, static_cast<unsigned long long>(flows.splits),
            static_cast<unsigned long long>(web.tally.web()),
            static_cast<unsigned long long>(web.tally.wrong));
    }
    EXPECT_EQ(frames.in_use(), 0u);
}

}  // namespace
}  // namespace weir::test
