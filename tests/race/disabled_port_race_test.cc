// Devices that go and come under traffic: two workers of the product on threads of their own, and the control
// thread, which disables a port, takes its device away, brings another and enables it again. Run with TSan
// too: it sees every touch of a device's queues, and of what a worker knows of them.
#include <chrono>
#include <thread>

#include "tests/drivers/eal_fixture.h"
#include "tests/support/ring_device.h"
#include "tests/support/running_worker.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kWorkers = RingDevice::kQueues;
constexpr std::uint32_t kRounds = 100, kFlows = 40;
constexpr PortId kFront{0}, kBack{1};
constexpr std::uint16_t kFirstEthdev = RTE_MAX_ETHPORTS - 2, kSecondEthdev = RTE_MAX_ETHPORTS - 4;

// Clients come by "edge", the backends are behind "back".
Config two_ports() {
    Config config = edge_config();
    PortConfig back;
    back.name = "back";
    back.addresses = {prefix("10.2.0.2/16")};
    config.ports.push_back(back);
    config.pools = {pool("web", {backend("a", "10.2.1.11"), backend("b", "10.2.1.12")})};
    config.services = {service("web", "203.0.113.10", "web")};
    add_neighbor(config, "10.2.1.11", "02:00:00:00:00:11", "back");
    add_neighbor(config, "10.2.1.12", "02:00:00:00:00:12", "back");
    return config;
}

WorldOptions two_devices() {
    WorldOptions options;
    options.ports = {{.mac = mac("02:00:00:00:00:01")}, {.mac = mac("02:00:00:00:00:02")}};
    return options;
}

class DisabledPortRace : public DriversTest {
  protected:
    void SetUp() override {
        ASSERT_TRUE(world_.apply(two_ports()));
        for (const std::uint16_t ethdev : {kFirstEthdev, kSecondEthdev})
            devices_.push_back(std::make_unique<RingDevice>(ethdev));
        for (std::uint16_t w = 0; w < kWorkers; ++w)
            workers_.push_back(std::make_unique<RunningWorker>(
                w, std::vector{devices_[0]->queues(w), devices_[1]->queues(w)}, counters_[w],
                world_.published(), 8192, w == 1));
    }
    void give_flows(std::uint8_t flags) {
        for (std::uint32_t n = 0; n < kFlows * kWorkers; ++n) {
            rte_mbuf* frame = frames_.frame(tcp_frame(client_flow(n, ip("203.0.113.10")), flags));
            if (devices_[0]->give(n % kWorkers, frame))
                ++given_;
            else
                rte_pktmbuf_free(frame);
        }
    }
    std::uint64_t take_all(RingDevice& device) {
        std::uint64_t taken = 0;
        for (unsigned w = 0; w < kWorkers; ++w)
            for (; rte_mbuf* frame = device.take(w); ++taken) rte_pktmbuf_free(frame);
        return taken;
    }
    void set_enabled(PortId port, bool enabled) {
        world_.set_port_enabled(port, enabled);
        world_.republish();
    }
    template <class Condition>
    void wait_until(Condition&& condition) {
        const auto deadline = Clock::now() + std::chrono::seconds(20);
        while (!condition() && Clock::now() < deadline) std::this_thread::yield();
        ASSERT_TRUE(condition());
    }
    void wait_until_settled() {
        const std::uint64_t generation = world_.generation();
        wait_until([&] {
            world_.tick();
            return world_.settled_since(generation);
        });
    }
    // No worker uses the port: its device goes, with what is in it, and comes again under another number.
    void replace_device(PortId port) {
        std::unique_ptr<RingDevice>& device = devices_[index(port)];
        sent_ += take_all(*device);
        lost_ += device->drop_received();
        const auto other = static_cast<std::uint16_t>(device->ethdev() ^ 1u);
        device.reset();
        device = std::make_unique<RingDevice>(other);
        for (std::uint16_t w = 0; w < kWorkers; ++w) workers_[w]->set_queues(port, device->queues(w));
    }
    [[nodiscard]] std::uint64_t sum(Counter WorkerCounters::*counter) {
        return (counters_[0].*counter).value() + (counters_[1].*counter).value();
    }

    FramePool frames_{"ports", 16'383};  // none is used twice: TSan cannot see how a pool orders them
    CountingWorkers counters_{kWorkers};
    World world_{two_devices(), counters_.all()};
    std::vector<std::unique_ptr<RingDevice>> devices_;  // by PortId
    std::vector<std::unique_ptr<RunningWorker>> workers_;
    std::uint64_t given_ = 0, lost_ = 0, sent_ = 0;
};

TEST_F(DisabledPortRace,
       a_port_goes_and_comes_a_hundred_times_under_traffic_and_every_packet_is_accounted_for) {
    for (std::uint32_t round = 0; round < kRounds; ++round) {
        const std::uint64_t received = sum(&WorkerCounters::received);
        give_flows(round == 0 ? kSyn : kAck);
        const PortId port = round % 2 == 0 ? kBack : kFront;
        wait_until([&] { return sum(&WorkerCounters::received) > received; });  // they are at it
        set_enabled(port, false);
        give_flows(kAck);  // out of a disabled port, or into one
        wait_until_settled();
        replace_device(port);
        set_enabled(port, true);
        sent_ += take_all(*devices_[1]);
    }
    wait_until_settled();
    wait_until([&] { return sum(&WorkerCounters::received) + lost_ == given_; });
    for (const auto& worker : workers_) worker->stop();
    sent_ += take_all(*devices_[1]);
    EXPECT_EQ(sum(&WorkerCounters::received) + lost_, given_);
    EXPECT_EQ(sum(&WorkerCounters::forwarded), sent_);
    std::uint64_t discarded = 0;
    for (unsigned w = 0; w < kWorkers; ++w) {
        expect_accounted(counters_[w]);
        discarded += dropped(counters_[w], DropReason::port_down);
        EXPECT_EQ(dropped_in_all(counters_[w]), dropped(counters_[w], DropReason::port_down));
    }
    EXPECT_GT(discarded, 0u);
    EXPECT_GT(sent_, 0u);
    // Flows outlive their ports.
    EXPECT_EQ(sum(&WorkerCounters::flow_inserts), kFlows * kWorkers);
    EXPECT_EQ(frames_.in_use(), 0u);
}

}  // namespace
}  // namespace weir::test
