// Readers against a publisher: nobody reads a freed object, however the threads fall. Under TSan this also
// proves that publish() and latch() order what they carry.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "ctrl/world.h"
#include "dataplane/published.h"
#include "tests/ctrl/config_builder.h"
#include "tests/support/reload_gate.h"

namespace weir {
namespace {

using namespace std::chrono_literals;

// Says of itself whether it still lives. The destructor writes where readers read: TSan sees an object that
// is freed too early even if the values happen to be right.
struct Canary {
    static constexpr std::uint64_t kAlive = 0x5afe'5afe'5afe'5afe, kDead = 0xdead'dead'dead'dead;
    explicit Canary(std::uint64_t n) : number(n), check(~n) { live.fetch_add(1); }
    ~Canary() {
        *const_cast<volatile std::uint64_t*>(&state) = kDead;
        *const_cast<volatile std::uint64_t*>(&check) = number;
        live.fetch_sub(1);
    }
    Canary(const Canary&) = delete;
    Canary& operator=(const Canary&) = delete;
    std::uint64_t state = kAlive;
    std::uint64_t number, check;
    static inline std::atomic<int> live{0};
};

struct ReaderResult {
    std::atomic<std::uint64_t> loops{0};
    std::uint64_t changes = 0, wrong = 0;
};

// A worker's loop: latch once, read, quiesce; now and then it goes offline, as before a sleep.
void read_until(const Published<Canary>& published, std::uint32_t id, const std::atomic<bool>& stop,
                ReaderResult& result) {
    const Published<Canary>::Reader reader(published, id);
    std::uint64_t last = 0;
    while (!stop.load(std::memory_order_relaxed)) {
        const Canary* canary = reader.latch();
        for (int again = 0; again < 4; ++again)
            if (canary->state != Canary::kAlive || canary->check != ~canary->number || canary->number < last)
                ++result.wrong;
        result.changes += canary->number != last ? 1 : 0;
        last = canary->number;
        reader.quiescent();
        if (result.loops.fetch_add(1) % 256 == 255) {
            reader.offline();
            std::this_thread::yield();
            reader.online();
        }
    }
    reader.leave();
}

TEST(PublishRace, TenThousandPublicationsAndNoFreedObjectIsRead) {
    ASSERT_EQ(Canary::live.load(), 0);
    {
        Published<Canary> published(2);
        published.publish(std::make_unique<const Canary>(1));
        std::atomic<bool> stop{false};
        std::array<ReaderResult, 2> results;
        std::array<std::thread, 2> readers;
        for (std::uint32_t id = 0; id < 2; ++id)
            readers[id] = std::thread([&, id] { read_until(published, id, stop, results[id]); });
        while (results[0].loops.load() == 0 || results[1].loops.load() == 0) std::this_thread::yield();
        const auto deadline = std::chrono::steady_clock::now() + 20s;
        std::uint64_t published_count = 1;
        while (published_count < 10'000 && std::chrono::steady_clock::now() < deadline) {
            published.publish(std::make_unique<const Canary>(++published_count));
            if (published_count % 8 != 0) continue;
            // On few CPUs the readers do not run while this thread spins: let each of them do a loop.
            const std::uint64_t first = results[0].loops.load(), second = results[1].loops.load();
            while ((results[0].loops.load() == first || results[1].loops.load() == second) &&
                   std::chrono::steady_clock::now() < deadline) {
                published.reclaim();
                std::this_thread::yield();
            }
        }
        stop.store(true);
        for (std::thread& reader : readers) reader.join();
        EXPECT_EQ(published.reclaim(), 0u);
        EXPECT_EQ(Canary::live.load(), 1);
        EXPECT_EQ(published_count, 10'000u) << "no more in 20 s";
        for (const ReaderResult& result : results) {
            EXPECT_EQ(result.wrong, 0u);
            EXPECT_GT(result.changes, 100u);
        }
    }
    EXPECT_EQ(Canary::live.load(), 0);
}

// A worker as the control core knows it: uses the newest snapshot, writes counters that it must find there.
class ReadingWorker {
  public:
    ReadingWorker(World& world, WorkerCounters& counters, std::uint32_t id)
        : thread_([this, &world, &counters, id] { run(world.published(), counters, id); }) {}
    void stop() {
        stop_.store(true);
        thread_.join();
    }
    std::atomic<std::uint64_t> loops{0}, torn{0};

  private:
    void run(const Published<ForwardingSnapshot>& published, WorkerCounters& counters, std::uint32_t id) {
        const Published<ForwardingSnapshot>::Reader reader(published, id);
        while (!stop_.load(std::memory_order_relaxed)) {
            const ForwardingSnapshot& snapshot = *reader.latch();
            const BackendView& view = snapshot.backends[static_cast<std::size_t>(ForwardingMode::ipip)];
            for (const BackendId member : snapshot.pools[0]->members) {
                // Every member of a table is a backend that serves, in the same snapshot.
                if (view[member].state != TrafficState::serving) torn.fetch_add(1);
                counters.backends[index(member)].packets.add(1);
            }
            counters.snapshot_generation.set(snapshot.generation);
            loops.fetch_add(1, std::memory_order_relaxed);
            reader.quiescent();
        }
        reader.leave();
    }
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

Config config_number(unsigned n) {
    Config config = web_config();
    config.pools[0].table_size = 251;
    config.pools[0].backends.change()[1].address = ip("10.1.2." + std::to_string(1 + n % 200));
    return config;
}

class FrozenReload : public testing::TestWithParam<ReloadStep> {};

// A reload that stops for as long as it likes between two steps: the workers go on, with one whole world.
TEST_P(FrozenReload, WorkersGoOnWhileTheControlThreadStands) {
    test::ReloadGate gate;
    CountingWorkers counters(2);
    WorldOptions options;
    options.ports = edge_facts();
    options.hook = [&](ReloadStep step) { gate.pass(step); };
    World world(options, counters.all());
    ASSERT_TRUE(world.apply(config_number(0)));
    ReadingWorker first(world, counters[0], 0), second(world, counters[1], 1);

    gate.close_at(GetParam());
    std::atomic<bool> finished{false};
    std::thread control([&] {
        EXPECT_TRUE(world.apply(config_number(1)));
        const auto deadline = std::chrono::steady_clock::now() + 10s;
        while ((world.retired() != 0 || !world.in_force() || world.ids().draining() != 0) &&
               std::chrono::steady_clock::now() < deadline) {
            world.tick();
            std::this_thread::yield();
        }
        finished.store(true);
    });
    EXPECT_TRUE(gate.wait_until_frozen());
    const std::uint64_t before = first.loops.load(), before_second = second.loops.load();
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while ((first.loops.load() < before + 100 || second.loops.load() < before_second + 100) &&
           std::chrono::steady_clock::now() < deadline)
        std::this_thread::yield();
    EXPECT_GE(first.loops.load(), before + 100);
    EXPECT_GE(second.loops.load(), before_second + 100);
    const bool is_out = GetParam() == ReloadStep::published || GetParam() == ReloadStep::reclaimed;
    EXPECT_EQ(counters[0].snapshot_generation.value() >= 2, is_out);
    EXPECT_FALSE(finished.load());
    gate.open();
    control.join();
    EXPECT_TRUE(world.in_force());
    EXPECT_EQ(world.retired(), 0u);
    EXPECT_EQ(world.missed_deadlines(), 0u);
    first.stop();
    second.stop();
    EXPECT_EQ(first.torn.load() + second.torn.load(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Steps, FrozenReload,
                         testing::Values(ReloadStep::compiled, ReloadStep::before_publish,
                                         ReloadStep::published, ReloadStep::reclaimed));

// Reloads one after the other under two reading workers: ids, drains and chunks of counters included.
TEST(ReloadRace, ManyReloadsUnderReadingWorkers) {
    CountingWorkers counters(2);
    WorldOptions options;
    options.ports = edge_facts();
    World world(options, counters.all());
    ASSERT_TRUE(world.apply(config_number(0)));
    ReadingWorker first(world, counters[0], 0), second(world, counters[1], 1);
    const auto deadline = std::chrono::steady_clock::now() + 5s;
    unsigned reloads = 0;
    for (; reloads < 1000 && std::chrono::steady_clock::now() < deadline; ++reloads) {
        ASSERT_TRUE(world.apply(config_number(reloads + 1)));
        counters[0].flow_sweeps.add(1);
        counters[1].flow_sweeps.add(1);
        world.tick();
    }
    const auto last = std::chrono::steady_clock::now() + 10s;
    while ((!world.in_force() || world.retired() != 0) && std::chrono::steady_clock::now() < last) {
        world.tick();
        std::this_thread::yield();
    }
    EXPECT_TRUE(world.in_force());
    EXPECT_EQ(world.retired(), 0u);
    first.stop();
    second.stop();
    EXPECT_EQ(first.torn.load() + second.torn.load(), 0u);
    EXPECT_GT(reloads, 10u);
}

}  // namespace
}  // namespace weir
