// A worker between a port and the rings of the host thread; the test is the host thread.
#include <array>
#include <chrono>
#include <functional>
#include <thread>

#include "tests/drivers/eal_fixture.h"
#include "tests/support/ring_wires.h"
#include "tests/support/running_worker.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr unsigned kWireSlots = 64;

class HostWorkerTest : public DriversTest, public testing::WithParamInterface<bool> {
  protected:
    void SetUp() override {
        static unsigned made = 0;
        wires_ = std::make_unique<RingWires>("h" + std::to_string(made++), kWireSlots);
        PortSpec wanted = spec("edge", "", 2);
        wanted.mac = MacBytes{2, 0, 0, 0, 0, 1};
        auto port = Port::adopt(wires_->ethdev, wanted, pools_);
        ASSERT_TRUE(port) << port.error().message;
        port_.emplace(std::move(*port));
        queues_ = {{port_->rx_queue(0), port_->tx_queue(0)}};
        auto rings = HostRings::make(0);
        ASSERT_TRUE(rings) << rings.error().message;
        rings_.emplace(std::move(*rings));
        Config config = all_modes_config();
        config.ports[0].host_interface = "weir0";
        WorldOptions options;
        options.ports = {{.mac = MacAddress{port_->mac()}, .mtu = port_->mtu()}};
        world_ = std::make_unique<World>(std::move(options), counters_.all());
        ASSERT_TRUE(world_->apply(std::move(config)));
        start();
    }
    void TearDown() override {
        worker_.reset();
        rings_.reset();
        port_.reset();
        EXPECT_EQ(pools_.in_use(), 0u);
    }
    void start() {
        worker_ = std::make_unique<RunningWorker>(0, queues_, counters_[0], world_->published(), 4096,
                                                  GetParam(), false, &*rings_, &flows_);
    }
    // From the wire.
    void receive(const Bytes& frame) {
        rte_mbuf* packet = to_mbuf(*port_->pool(), frame);
        ASSERT_NE(packet, nullptr);
        ASSERT_EQ(rte_ring_enqueue(wires_->in[0], packet), 0);
    }
    // From the host thread.
    void send(const Bytes& frame, OutgoingKind kind = OutgoingKind::host) {
        rte_mbuf* packet = to_mbuf(*port_->pool(), frame);
        ASSERT_NE(packet, nullptr);
        packet->port = 0;
        packet->hash.usr = static_cast<std::uint32_t>(kind);
        ASSERT_TRUE(rings_->send(packet));
    }
    static void wait_until(const std::function<bool()>& done) {
        for (const auto deadline = Clock::now() + seconds(10); !done() && Clock::now() < deadline;)
            std::this_thread::yield();
        EXPECT_TRUE(done());
    }
    std::vector<Bytes> on_wire() {
        std::vector<Bytes> sent;
        for (void* out = nullptr; rte_ring_dequeue(wires_->out[0], &out) == 0;) {
            sent.push_back(bytes_of(*static_cast<rte_mbuf*>(out)));
            rte_pktmbuf_free(static_cast<rte_mbuf*>(out));
        }
        return sent;
    }
    std::vector<Bytes> punted() {
        std::vector<Bytes> taken;
        std::array<rte_mbuf*, 64> frames;
        while (const std::uint32_t count = rings_->take_punted(frames))
            for (std::uint32_t i = 0; i < count; ++i) {
                EXPECT_EQ(frames[i]->port, 0);
                taken.push_back(bytes_of(*frames[i]));
                rte_pktmbuf_free(frames[i]);
            }
        return taken;
    }
    // Out of line: gcc 12 sees an overflow in the inlined vectors that is none.
    [[gnu::noinline]] static Bytes of_kernel(std::uint32_t n) {
        return tcp_frame({.source = ip("10.1.0.2"),
                          .destination = ip("10.1.0.1"),
                          .source_port = static_cast<std::uint16_t>(40'000 + n),
                          .destination_port = 179},
                         kAck, n);
    }
    [[gnu::noinline]] static Bytes of_router(std::uint32_t n) {
        return tcp_frame({.source = ip("10.1.0.1"),
                          .destination = ip("10.1.0.2"),
                          .source_port = 179,
                          .destination_port = static_cast<std::uint16_t>(40'000 + n)},
                         kAck, n);
    }

    WorkerCounters& counters() { return counters_[0]; }

    CountingWorkers counters_{1};
    HostFlows flows_{HashKey::zero()};
    std::unique_ptr<RingWires> wires_;
    std::optional<Port> port_;
    std::vector<WorkerQueues> queues_;
    std::optional<HostRings> rings_;
    std::unique_ptr<World> world_;
    std::unique_ptr<RunningWorker> worker_;
};

TEST_P(HostWorkerTest, frames_of_the_kernel_leave_in_order_and_their_answers_are_known) {
    std::vector<Bytes> frames;
    for (std::uint32_t n = 0; n < 50; ++n) send(frames.emplace_back(of_kernel(n)));
    wait_until([&] { return counters().host_tx[0].value() == 50; });
    EXPECT_EQ(on_wire(), frames);
    frames.clear();
    for (std::uint32_t n = 0; n < 50; ++n) receive(frames.emplace_back(of_router(n)));
    receive(of_router(60));
    wait_until([&] { return counters().punted.value() == 51; });
    frames.push_back(of_router(60));
    EXPECT_EQ(punted(), frames);
    EXPECT_EQ(counters().punted_by_class[static_cast<std::size_t>(PuntClass::talking)].value(), 50u);
    EXPECT_EQ(counters().punted_by_class[static_cast<std::size_t>(PuntClass::bgp)].value(), 1u);
    expect_accounted(counters());
}

TEST_P(HostWorkerTest, what_weir_sends_of_its_own_accord_is_counted_by_kind) {
    const Bytes garp = arp_request(mode_vip(1, false), mode_vip(1, false));
    send(garp, OutgoingKind::garp);
    send(of_kernel(1));
    send(garp, OutgoingKind::garp);
    send(neighbor_solicitation(mode_vip(1, true), mode_vip(1, true)), OutgoingKind::neighbor_advertisement);
    wait_until([&] { return counters().originated[1].value() == 1; });
    EXPECT_EQ(counters().originated[0].value(), 2u);
    EXPECT_EQ(counters().host_tx[0].value(), 1u);
    EXPECT_EQ(on_wire().size(), 4u);
    EXPECT_FALSE(flows_.was_asked(mode_vip(1, false).v4(), Tick{0})) << "the kernel has asked nobody";
}

TEST_P(HostWorkerTest, what_the_device_refuses_is_counted_and_freed) {
    for (std::uint32_t n = 0; n < 100; ++n) send(of_kernel(n));
    wait_until([&] { return counters().host_tx[0].value() + counters().host_tx_refused[0].value() == 100; });
    EXPECT_EQ(counters().host_tx[0].value(), kWireSlots - 1);
    EXPECT_EQ(on_wire().size(), kWireSlots - 1);
    expect_accounted(counters());
}

TEST_P(HostWorkerTest, a_ring_that_nobody_empties_costs_what_does_not_fit) {
    send(of_kernel(1));
    wait_until([&] { return counters().host_tx[0].value() == 1; });
    on_wire();
    constexpr std::uint32_t kSent = HostRings::kFrames + 40;
    for (std::uint32_t n = 0; n < kSent; ++n) {
        wait_until([&] { return rte_ring_full(wires_->in[0]) == 0; });
        receive(of_router(1));
    }
    wait_until([&] { return counters().punted.value() + dropped_in_all(counters()) == kSent; });
    EXPECT_EQ(dropped(counters(), DropReason::punt_full), 40u);
    EXPECT_EQ(punted().size(), HostRings::kFrames);
    expect_accounted(counters());
}

TEST_P(HostWorkerTest, stopping_sends_what_the_host_thread_has_left) {
    worker_->stop();
    for (std::uint32_t n = 0; n < 60; ++n) send(of_kernel(n));
    receive(of_router(1));
    start();
    worker_->stop();
    EXPECT_EQ(counters().host_tx[0].value(), 60u);
    EXPECT_EQ(on_wire().size(), 60u);
    EXPECT_EQ(punted().size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Idle, HostWorkerTest, testing::Bool(),
                         [](const auto& run) { return run.param ? "sleep" : "poll"; });

}  // namespace
}  // namespace weir::test
