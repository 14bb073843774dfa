// Workers with idle = "sleep": woken by frames (net_tap), by time (net_ring) and by the control core; what
// they use while nothing happens. The test over net_tap needs root; the whole process works in a network
// namespace of its own, which vanishes with it.
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "ctrl/world.h"
#include "tests/ctrl/config_builder.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/packet_builder.h"
#include "tests/support/raw_socket.h"
#include "tests/support/ring_wires.h"
#include "tests/support/running_worker.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kLongestWait = duration_cast<milliseconds>(nanoseconds(IdleBackoff::kLongestWait));

// One port and one worker that sleeps, as Appliance puts them together.
class SleepingAppliance {
  public:
    explicit SleepingAppliance(Port port) : port_(std::move(port)) {
        WorldOptions options;
        options.ports = {{.mac = MacAddress{port_.mac()}, .mtu = port_.mtu()}};
        options.wake_workers = [this] {
            if (worker_) worker_->wake();
        };
        world_ = std::make_unique<World>(std::move(options), counters_.all());
        EXPECT_TRUE(world_->apply(all_modes_config()));
        worker_ = std::make_unique<RunningWorker>(
            0, std::vector<WorkerQueues>{{port_.rx_queue(0), port_.tx_queue(0)}}, counters_[0],
            world_->published(), 8192, true, port_.has_rx_interrupts());
    }
    [[nodiscard]] const Port& port() const { return port_; }
    [[nodiscard]] World& world() { return *world_; }
    [[nodiscard]] RunningWorker& worker() { return *worker_; }
    [[nodiscard]] const WorkerCounters& counters() { return counters_[0]; }

    // Share of a CPU that the worker uses while nothing happens.
    double idle_share(milliseconds settling) {
        std::this_thread::sleep_for(settling);
        const auto begun = Clock::now();
        const nanoseconds used = worker_->cpu_time();
        std::this_thread::sleep_for(milliseconds(1500));
        return std::chrono::duration<double>(worker_->cpu_time() - used) / (Clock::now() - begun);
    }

  private:
    CountingWorkers counters_{1};
    Port port_;
    std::unique_ptr<World> world_;
    std::unique_ptr<RunningWorker> worker_;
};

// The best of a few tries: the machine may have been busy otherwise.
template <class Measure>
nanoseconds best_of(int tries, Measure&& measure) {
    nanoseconds best = seconds(60);
    for (int n = 0; n < tries; ++n) best = std::min<nanoseconds>(best, measure());
    return best;
}

class SleepingWorkerTest : public DriversTest {
  protected:
    static void SetUpTestSuite() {
        if (getuid() == 0) {
            // Before EAL: its threads must be in the namespace too. Without IPv6, which would add frames.
            ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "no network namespace of our own";
            std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << 1;
        }
        DriversTest::SetUpTestSuite();
    }
    Port ring_port(RingWires& wires) {
        PortSpec wanted = spec("edge", "", 1);
        wanted.mac = MacBytes{2, 0, 0, 0, 0, 1};
        wanted.rx_interrupts = true;
        auto port = Port::adopt(wires.ethdev, wanted, pools_);
        if (!port) ADD_FAILURE() << port.error().message;
        return std::move(*port);
    }
    Port tap_port(std::uint16_t queues = 1) {
        PortSpec wanted = spec("edge", "net_tap0,iface=wsleep0", queues);
        wanted.rx_interrupts = true;
        auto port = Port::open(wanted, pools_);
        if (!port) ADD_FAILURE() << port.error().message;
        return std::move(*port);
    }
    static bool may_have_a_tap() { return getuid() == 0; }
};

// What holds for sleeps of either kind. A worker in one is offline: it keeps no snapshot alive.
void expect_stop_and_publication_do_not_wait(SleepingAppliance& appliance) {
    World& world = appliance.world();
    const std::uint64_t sleeps = appliance.counters().sleeps.value();
    for (int round = 0; round < 20; ++round) {
        std::this_thread::sleep_for(kLongestWait + milliseconds(round));
        world.republish();
        world.republish();
        const auto published = Clock::now();
        while (!world.in_force()) {
            ASSERT_LT(Clock::now() - published, seconds(1)) << "it was not woken";
            std::this_thread::yield();
        }
        while (world.retired() != 0) {
            ASSERT_LT(Clock::now() - published, seconds(1)) << "a sleeping worker holds a snapshot";
            world.tick();
        }
    }
    EXPECT_GE(appliance.counters().sleeps.value(), sleeps + 20);
    EXPECT_EQ(world.missed_deadlines(), 0u);
    std::this_thread::sleep_for(kLongestWait);
    const auto asked = Clock::now();
    appliance.worker().stop();
    EXPECT_LT(Clock::now() - asked, milliseconds(200));
}

TEST_F(SleepingWorkerTest, without_interrupts_it_naps_and_uses_next_to_no_cpu) {
    RingWires wires("naps");
    {
        SleepingAppliance appliance(ring_port(wires));
        EXPECT_FALSE(appliance.port().has_rx_interrupts());
        EXPECT_TRUE(says(appliance.port().notes().at(0), {"port edge", "net_ring", "no receive interrupts"}));
        EXPECT_LT(appliance.idle_share(milliseconds(2'500)), 0.05);
        const double awake = 1 - static_cast<double>(appliance.counters().asleep_tsc.value()) /
                                     static_cast<double>(appliance.counters().idle_tsc.value());
        EXPECT_LT(awake, 0.2);

        const auto wait_of_one_frame = [&] {
            std::this_thread::sleep_for(milliseconds(50));
            const auto sent = Clock::now();
            EXPECT_EQ(rte_ring_enqueue(wires.in[0], to_mbuf(*appliance.port().pool(),
                                                            arp_request(ip("10.1.0.1"), mode_vip(1, false)))),
                      0);
            void* out = nullptr;
            while (rte_ring_dequeue(wires.out[0], &out) != 0 && Clock::now() - sent < seconds(2))
                std::this_thread::yield();
            EXPECT_NE(out, nullptr);
            rte_pktmbuf_free(static_cast<rte_mbuf*>(out));
            return Clock::now() - sent;
        };
        EXPECT_LT(best_of(10, wait_of_one_frame), milliseconds(3));
        expect_stop_and_publication_do_not_wait(appliance);
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(SleepingWorkerTest, with_interrupts_publication_and_stop_do_not_wait) {
    if (!may_have_a_tap()) GTEST_SKIP() << "NOT TESTED: net_tap needs root; run as root";
    SleepingAppliance appliance(tap_port());
    EXPECT_TRUE(appliance.port().has_rx_interrupts());
    EXPECT_LT(appliance.idle_share(milliseconds(200)), 0.05);
    EXPECT_LT(appliance.counters().sleeps.value(), 300u) << "frames and time end sleeps, nothing else";
    const auto time_to_force = [&] {
        std::this_thread::sleep_for(milliseconds(7));
        const auto published = Clock::now();
        appliance.world().republish();
        while (!appliance.world().in_force() && Clock::now() - published < seconds(1))
            std::this_thread::yield();
        return Clock::now() - published;
    };
    EXPECT_LT(best_of(10, time_to_force), milliseconds(2)) << "not when its sleep ends";
    expect_stop_and_publication_do_not_wait(appliance);
}

TEST_F(SleepingWorkerTest, a_frame_wakes_it_and_none_is_lost_over_random_gaps) {
    if (!may_have_a_tap()) GTEST_SKIP() << "NOT TESTED: net_tap needs root; run as root";
    constexpr int kFrames = 10'000;
    {
        SleepingAppliance appliance(tap_port());
        const RawSocket kernel("wsleep0", 0x0806);
        const Bytes request = arp_request(ip("10.1.0.1"), mode_vip(1, false));
        std::mt19937 random(5);
        std::vector<nanoseconds> waits;
        for (int n = 0; n < kFrames; ++n) {
            std::this_thread::sleep_for(microseconds(random() % (n % 100 == 0 ? 20'000 : 200)));
            const auto sent = Clock::now();
            kernel.send(request);
            ASSERT_FALSE(kernel.receive().empty()) << "frame " << n;
            waits.push_back(Clock::now() - sent);
        }
        std::ranges::sort(waits);
        EXPECT_LT(waits[kFrames / 2], milliseconds(2));
        // A lost wake-up would last until the sleep's limit. Worker and test share a CPU.
        const auto late = std::ranges::count_if(waits, [](nanoseconds w) { return w > kLongestWait / 2; });
        EXPECT_LT(late, kFrames / 100);
        EXPECT_GT(appliance.counters().sleeps.value(), 1'000u);
        RecordProperty("median_us",
                       static_cast<int>(duration_cast<microseconds>(waits[kFrames / 2]).count()));
        RecordProperty("late", static_cast<int>(late));
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(SleepingWorkerTest, interrupts_are_asked_for_only_where_workers_sleep) {
    if (!may_have_a_tap()) GTEST_SKIP() << "NOT TESTED: net_tap needs root; run as root";
    const auto port = Port::open(spec("edge", "net_tap1,iface=wsleep1"), pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_FALSE(port->has_rx_interrupts());
    EXPECT_TRUE(tap_port(2).has_rx_interrupts()) << "both queues";
}

}  // namespace
}  // namespace weir::test
