// The host thread against everybody: two workers that punt and take, two threads that post, one that reads
// the statistics. Frames are neither lost nor doubled, and keep their order. Run with TSan too.
#include <array>
#include <chrono>
#include <thread>

#include "drivers/host_thread.h"
#include "tests/drivers/eal_fixture.h"

namespace weir::test {
namespace {

constexpr unsigned kWorkers = 2, kPorts = 2;
constexpr unsigned kFrames = 1'500;  // of each kind; all fit the pool at once

class HostThreadRace : public DriversTest {
  protected:
    static void SetUpTestSuite() {
        auto options = unprivileged_eal();
        options.host_thread = true;
        static Result<Eal> eal = Eal::start(options);
        ASSERT_TRUE(eal) << eal.error().message;
        lcore_ = eal->host_lcore();
    }
    // No mbuf is used twice: the pool's ring is in a library that TSan does not see into, and one thread's
    // use of a mbuf after another's would look like a race.
    static PoolDemand large_demand() {
        PoolDemand demand;
        demand.held_by_devices = 2 * kWorkers * kFrames + 2 * kPorts * kFrames;
        return demand;
    }
    MbufPools large_{large_demand()};
    static inline unsigned lcore_ = 0;
};

// A worker that punts `kFrames` frames, as many as it has room for at a time, and takes what is posted for
// its port.
void work(HostRings& rings, rte_mempool& pool, unsigned worker, std::vector<unsigned>& taken) {
    std::array<rte_mbuf*, 32> burst;
    unsigned punted = 0;
    rte_mbuf* next = nullptr;
    while (punted < kFrames || taken.size() < kFrames) {
        if (punted < kFrames) {
            if (next == nullptr) next = to_mbuf(pool, std::vector<std::uint8_t>(60));
            next->port = static_cast<std::uint16_t>(worker);
            if (rings.punt({&next, 1}) == 1) {
                next = nullptr;
                ++punted;
            }
        }
        const std::uint32_t count = rings.take(burst);
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto* bytes = rte_pktmbuf_mtod(burst[i], const std::uint8_t*);
            taken.push_back(static_cast<unsigned>(bytes[0] << 8 | bytes[1]));
        }
        rte_pktmbuf_free_bulk(burst.data(), count);
        if (count == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
}

TEST_F(HostThreadRace, nothing_is_lost_doubled_or_out_of_order) {
    rte_mempool* pool = large_.pool_for(SOCKET_ID_ANY).value();
    auto made = HostThread::make({{pool, true, nullptr}, {pool, true, nullptr}}, kWorkers);
    ASSERT_TRUE(made) << made.error().message;
    HostThread& host = **made;
    std::array<std::atomic<unsigned>, kWorkers> wakes{};
    host.launch(lcore_, [&](unsigned worker) { wakes[worker].fetch_add(1); });

    std::array<std::vector<unsigned>, kWorkers> taken;
    std::vector<std::thread> threads;
    for (unsigned worker = 0; worker < kWorkers; ++worker)
        threads.emplace_back([&, worker] { work(host.rings(worker), *pool, worker, taken[worker]); });
    for (unsigned port = 0; port < kPorts; ++port)
        threads.emplace_back([&, port] {
            for (unsigned n = 0; n < kFrames; ++n) {
                const std::array frame{static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)};
                EXPECT_TRUE(host.post(port, frame, OutgoingKind::garp));
                // Sometimes it must fall asleep.
                if (n % 300 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));
            }
        });
    std::atomic<bool> done{false};
    std::thread reader([&] {
        while (!done.load()) EXPECT_LE(host.stats(0).rx_no_interface, kFrames);
    });
    for (std::thread& thread : threads) thread.join();
    done.store(true);
    reader.join();
    host.stop();
    for (unsigned worker = 0; worker < kWorkers; ++worker) {
        EXPECT_EQ(host.stats(worker).rx_no_interface, kFrames);
        EXPECT_GT(wakes[worker].load(), 0u);
        ASSERT_EQ(taken[worker].size(), kFrames);
        for (unsigned n = 0; n < kFrames; ++n) EXPECT_EQ(taken[worker][n], n);
    }
    made->reset();
    EXPECT_EQ(large_.in_use(), 0u);
}

}  // namespace
}  // namespace weir::test
