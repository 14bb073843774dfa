// Sticky clients between two workers of the product on threads of their own, while a control thread changes
// the pool: what travels from ring to ring is neither lost nor split. Run with TSan too.
#include <chrono>
#include <random>
#include <thread>

#include "dataplane/tables/selection.h"
#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/ring_device.h"
#include "tests/support/running_worker.h"
#include "tests/support/sanitized.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr unsigned kWorkers = RingDevice::kQueues;
constexpr std::uint32_t kFlows = kSanitized ? 10'000 : 100'000, kReloads = kSanitized ? 100 : 1'000;
constexpr std::uint32_t kPacketsOfFlow = 3, kClients = 16, kConnections = 1'000;

// Backends 10.1.7.N.
Config config_of(const std::vector<unsigned>& numbers, Duration duration) {
    Config config = edge_config();
    std::vector<BackendConfig> backends;
    for (const unsigned n : numbers)
        backends.push_back(backend("k" + std::to_string(n), "10.1.7." + std::to_string(n)));
    config.pools = {pool("web", std::move(backends))};
    config.pools[0].table_size = 251;
    config.pools[0].stickiness.emplace().duration = duration;
    config.services = {service("web", "203.0.113.20", "web")};
    config.services[0].udp = true;
    return config;
}

// The far end of the device. Packets that travel come out later than those that do not, so a frame says
// itself which it is: by its client and port.
class LoosePeer {
  public:
    static constexpr std::size_t kInFlight = 448;  // no ring overflows

    LoosePeer(RingDevice& device, const FramePool& pool) : device_(device) {
        for (std::size_t i = 0; i < kInFlight; ++i) idle_.push_back(pool.frame(Bytes(60)));
        home_ = idle_[0]->data_off;
    }
    ~LoosePeer() {
        for (rte_mbuf* frame : idle_) rte_pktmbuf_free(frame);
    }
    LoosePeer(const LoosePeer&) = delete;
    LoosePeer& operator=(const LoosePeer&) = delete;

    // Waits for a frame to come back, if need be; false: none has for long, so a worker stands still.
    template <class Judge>
    [[nodiscard]] bool may_send(Judge&& judge) {
        for (const auto deadline = Clock::now() + kPatience; idle_.empty() && Clock::now() < deadline;)
            receive(judge);
        return !idle_.empty();
    }
    void send(unsigned queue, const Tuple& flow) {
        rte_mbuf* frame = idle_.back();
        idle_.pop_back();
        const Bytes bytes = udp_frame(flow);
        frame->data_off = home_;
        frame->data_len = static_cast<std::uint16_t>(bytes.size());
        frame->pkt_len = frame->data_len;
        std::copy(bytes.begin(), bytes.end(), rte_pktmbuf_mtod(frame, std::uint8_t*));
        ASSERT_TRUE(device_.give(queue, frame));
        ++sent;
    }
    // judge(client and port, backend) of everything that has come out.
    template <class Judge>
    void receive(Judge&& judge) {
        bool any = false;
        for (unsigned q = 0; q < kWorkers; ++q)
            while (rte_mbuf* frame = device_.take(q)) {
                const std::span<const std::uint8_t> bytes(rte_pktmbuf_mtod(frame, std::uint8_t*),
                                                          frame->data_len);
                // Ethernet, outer IPv4, inner IPv4, UDP: the client's number is in the inner source.
                judge(std::uint32_t{word_at(bytes, 48)} << 16 | word_at(bytes, 54),
                      word_at(bytes, 32) & 0xffu);
                idle_.push_back(frame);
                any = true;
            }
        if (!any) std::this_thread::yield();
    }
    template <class Judge>
    void drain(Judge&& judge) {
        for (const auto deadline = Clock::now() + kPatience;
             idle_.size() < kInFlight && Clock::now() < deadline;)
            receive(judge);
        ASSERT_EQ(idle_.size(), kInFlight) << "packets were lost";
    }
    std::uint64_t sent = 0;

  private:
    static constexpr seconds kPatience{20};

    RingDevice& device_;
    std::vector<rte_mbuf*> idle_;
    std::uint16_t home_ = 0;
};

class StickyTraffic {
  public:
    StickyTraffic(const Config& config, const FramePool& pool, bool sleeps)
        : rings_(std::move(*WorkerRings::make(kWorkers))),
          counters_(kWorkers),
          world_(options(workers_), counters_.all()),
          peer_(device_, pool) {
        EXPECT_TRUE(world_.apply(config));
        for (std::uint16_t w = 0; w < kWorkers; ++w)
            workers_.push_back(std::make_unique<RunningWorker>(
                w, std::vector{device_.queues(w)}, counters_[w], world_.published(), 262'144, sleeps, false,
                nullptr, nullptr, StickyShare{rings_.get(), 65'536}));
    }
    [[nodiscard]] World& world() { return world_; }
    [[nodiscard]] LoosePeer& peer() { return peer_; }
    void tick_until_settled() {
        const auto deadline = Clock::now() + seconds(20);
        while ((world_.retired() != 0 || !world_.in_force()) && Clock::now() < deadline) {
            world_.tick();
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
        EXPECT_TRUE(world_.in_force());
    }
    [[nodiscard]] std::uint64_t sum(Counter WorkerCounters::*counter) {
        return (counters_[0].*counter).value() + (counters_[1].*counter).value();
    }
    // Stops the workers: each packet was received once and forwarded once, and none is left in a ring.
    void finish() {
        for (const auto& worker : workers_) worker->stop();
        EXPECT_EQ(sum(&WorkerCounters::received), peer_.sent);
        EXPECT_EQ(sum(&WorkerCounters::forwarded), peer_.sent);
        EXPECT_EQ(sum(&WorkerCounters::packets_in_flight), 0u);
        EXPECT_EQ(rings_->held(0) + rings_->held(1), 0u);
        EXPECT_GT(sum(&WorkerCounters::sticky_handed_over), 0u);
        EXPECT_EQ(sum(&WorkerCounters::sticky_bypassed), 0u);
    }

  private:
    using Workers = std::vector<std::unique_ptr<RunningWorker>>;
    static WorldOptions options(const Workers& workers) {
        WorldOptions made;
        made.ports = edge_facts();
        made.derive_unknown_macs = true;
        made.wake_workers = [&workers] {
            for (const auto& worker : workers) worker->wake();
        };
        return made;
    }
    std::unique_ptr<WorkerRings> rings_;
    CountingWorkers counters_;
    RingDevice device_{RTE_MAX_ETHPORTS - 1};
    World world_;
    LoosePeer peer_;
    Workers workers_;
};

// Adds and removes backends 10 and above, `times` times, until it is told to stop.
class PoolChanges {
  public:
    PoolChanges(StickyTraffic& traffic, Duration duration) : traffic_(traffic), duration_(duration) {
        thread_ = std::thread([this] { run(); });
    }
    ~PoolChanges() { join(); }
    PoolChanges(const PoolChanges&) = delete;
    PoolChanges& operator=(const PoolChanges&) = delete;
    void join() {
        stop_.store(true);
        if (thread_.joinable()) thread_.join();
    }
    std::uint32_t done = 0;

  private:
    void run() {
        std::mt19937 random(11);
        std::vector<unsigned> numbers{1, 2, 3};
        for (; done < kReloads && !stop_.load(std::memory_order_relaxed); ++done) {
            const auto n = static_cast<unsigned>(10 + random() % 30);
            const auto place = std::ranges::find(numbers, n);
            if (place == numbers.end())
                numbers.push_back(n);
            else
                numbers.erase(place);
            EXPECT_TRUE(traffic_.world().apply(config_of(numbers, duration_)));
            traffic_.world().tick();
            std::this_thread::sleep_for(std::chrono::microseconds(300));
        }
        traffic_.tick_until_settled();
    }
    StickyTraffic& traffic_;
    Duration duration_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

Tuple flow_of(std::uint32_t client, std::uint32_t port) {
    return client_flow(client << 16 | port, ip("203.0.113.20"));
}

class StickyRace : public DriversTest, public testing::WithParamInterface<bool> {};

TEST_P(StickyRace, ClientsKeepTheirBackendOverReloadsUntilTheDurationEnds) {
    FramePool frames("clients", 1023);
    constexpr Duration kDuration{3'000};
    {
        StickyTraffic traffic(config_of({1, 2, 3}, kDuration), frames, GetParam());
        std::array<std::uint32_t, kClients> home{};
        std::uint64_t moved = 0, packets = 0;
        const auto judge = [&](std::uint32_t name, std::uint32_t backend) {
            std::uint32_t& known = home[name >> 16];
            if (known == 0) known = backend;
            moved += known != backend ? 1 : 0;
            ++packets;
        };
        // The clients are known before the pool begins to change.
        for (std::uint32_t client = 0; client < kClients; ++client)
            traffic.peer().send(client % kWorkers, flow_of(client, 1));
        traffic.peer().drain(judge);
        PoolChanges changes(traffic, kDuration);
        for (std::uint32_t port = 2; port <= kConnections; ++port)
            for (std::uint32_t client = 0; client < kClients; ++client) {
                ASSERT_TRUE(traffic.peer().may_send(judge)) << "a worker stands still";
                traffic.peer().send((client + port) % kWorkers, flow_of(client, port));
            }
        traffic.peer().drain(judge);
        changes.join();
        EXPECT_EQ(moved, 0u);
        EXPECT_EQ(packets, std::uint64_t{kClients} * kConnections);

        // After the duration each goes where the pool as it is now sends a new client.
        ASSERT_TRUE(traffic.world().apply(config_of({1, 2, 3, 4, 5, 6, 7, 8, 9}, kDuration)));
        traffic.tick_until_settled();
        std::this_thread::sleep_for(kDuration + milliseconds(100));
        home = {};
        for (std::uint32_t client = 0; client < kClients; ++client)
            traffic.peer().send(client % kWorkers, flow_of(client, 60'000));
        traffic.peer().drain(judge);
        const ForwardingSnapshot& world = *traffic.world().published().current();
        const PoolTable& pool = *world.service_records[0].table;
        std::uint64_t as_new = 0;
        for (std::uint32_t client = 0; client < kClients; ++client) {
            const BackendId id = choose_backend(
                pool, prefix_hash<V4>(world.selection_key, pool.sticky, flow_of(client, 0).source.v4()),
                Tick{});
            for (const auto& known : traffic.world().ids().find_pool("web")->backends)
                if (known.id == id)
                    as_new += (known.address.v4().bits.value() & 0xff) == home[client] ? 1 : 0;
        }
        EXPECT_EQ(as_new, kClients);
        traffic.finish();
        print_figure(
            "%u clients, %u connections each over 2 workers and %u pool changes: %llu moved; after the "
            "duration %llu placed as new",
            kClients, kConnections, changes.done, static_cast<unsigned long long>(moved),
            static_cast<unsigned long long>(as_new));
    }
    EXPECT_EQ(frames.in_use(), 0u);
}

TEST_P(StickyRace, ManyNewFlowsThatRaceWithUpdatesAreNeverSplit) {
    FramePool frames("flows", 1023);
    constexpr Duration kDuration{600'000};
    {
        StickyTraffic traffic(config_of({1, 2, 3}, kDuration), frames, GetParam());
        std::vector<std::uint32_t> home(std::size_t{4096} << 8, 0);  // by client and port
        std::uint64_t splits = 0, packets = 0;
        const auto judge = [&](std::uint32_t name, std::uint32_t backend) {
            std::uint32_t& known = home[(name >> 16) << 8 | (name & 0xff)];
            if (known == 0) known = backend;
            splits += known != backend ? 1 : 0;
            ++packets;
        };
        PoolChanges changes(traffic, kDuration);
        // Workers that poll take their CPU from each other where there are too few: a part of it then.
        const std::uint32_t flows = GetParam() ? kFlows : kFlows / 5;
        for (std::uint32_t n = 0; n < flows; ++n)
            for (std::uint32_t packet = 0; packet < kPacketsOfFlow; ++packet) {  // all in flight at once
                ASSERT_TRUE(traffic.peer().may_send(judge)) << "a worker stands still";
                traffic.peer().send(n % kWorkers, flow_of(n % 4096, n / 4096));
            }
        traffic.peer().drain(judge);
        changes.join();
        EXPECT_EQ(splits, 0u);
        EXPECT_EQ(packets, std::uint64_t{flows} * kPacketsOfFlow);
        traffic.finish();
        print_figure(
            "%u new flows of 4096 clients, %u packets each in flight, %u pool changes: %llu split, %llu "
            "packets travelled",
            flows, kPacketsOfFlow, changes.done, static_cast<unsigned long long>(splits),
            static_cast<unsigned long long>(traffic.sum(&WorkerCounters::sticky_handed_over)));
    }
    EXPECT_EQ(frames.in_use(), 0u);
}

std::string name_of(const testing::TestParamInfo<bool>& sleeps) {
    return sleeps.param ? "sleeping" : "polling";
}
INSTANTIATE_TEST_SUITE_P(Idle, StickyRace, testing::Bool(), name_of);

}  // namespace
}  // namespace weir::test
