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
        worker_ =
            std::make_unique<RunningWorker>(0, queues_, counters_[0], world_->published(), 4096, GetParam(),
                                            false, &*rings_, &flows_, StickyShare{}, &probe_ports_);
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
    [[nodiscard]] BackendId id_of(const std::string& pool, std::string_view name) const {
        for (const auto& backend : world_->ids().find_pool(pool)->backends)
            if (backend.name == name) return backend.id;
        return kNoBackend;
    }

    CountingWorkers counters_{1};
    HostFlows flows_{HashKey::zero()};
    ProbePorts probe_ports_;
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

// As the kernel sends it: from weir's own address, to the next hop that leads here.
[[gnu::noinline]] Bytes probe_of_kernel(unsigned mode, bool v6, bool udp, std::uint16_t from) {
    const Tuple tuple{.source = ip(v6 ? "fd00:1::2" : "10.1.0.2"),
                      .destination = mode_vip(mode, v6),
                      .source_port = from,
                      .destination_port = 8080};
    const Link link{.to = kProbeGatewayMac, .from = MacAddress{{2, 0, 0, 0, 0, 1}}, .ttl = 64};
    return udp ? udp_frame(tuple, 20, true, link) : tcp_frame(tuple, kSyn, 0, link);
}

TEST_P(HostWorkerTest, probes_through_a_vip_reach_the_backend_that_they_are_for_in_its_mode) {
    std::uint16_t from = 40'000;
    std::uint64_t sent = 0;
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true})
            for (const bool udp : {false, true})
                for (const char* name : {"a", "b"}) {
                    const BackendId id = id_of("mode" + std::to_string(mode), name);
                    const ForwardingMode how = world_->config()->services[2 * (mode - 1)].forwarding;
                    probe_ports_.set(udp ? IpProtocol::udp : IpProtocol::tcp, ++from, {id, how});
                    const Bytes frame = probe_of_kernel(mode, v6, udp, from);
                    send(frame);
                    wait_until([&] { return counters().originated[kOriginatedProbe].value() == sent + 1; });
                    ++sent;
                    const std::vector<Bytes> out = on_wire();
                    ASSERT_EQ(out.size(), 1u);
                    const BackendRecord& record =
                        world_->snapshot()->backends[static_cast<std::size_t>(how)][id];
                    EXPECT_TRUE(std::equal(out[0].begin(), out[0].begin() + 12, record.header.begin()));
                    EXPECT_EQ(out[0].size() - frame.size(), record.header_length - sizeof(EthernetHeader));
                    EXPECT_TRUE(
                        std::equal(frame.begin() + 14, frame.end(), out[0].begin() + record.header_length))
                        << "what is inside is as it was";
                    EXPECT_EQ(counters().backends[index(id)].packets.value(), 0u);
                }
    EXPECT_EQ(counters().flow_entries.value() + counters().flow_inserts.value(), 0u);
    EXPECT_EQ(counters().received.value() + counters().forwarded.value(), 0u);
    EXPECT_EQ(counters().host_tx[0].value() + counters().host_tx_refused[0].value(), 0u);
    // The answer of the last one.
    receive(udp_frame({.source = mode_vip(kModes, true),
                       .destination = ip("fd00:1::2"),
                       .source_port = 8080,
                       .destination_port = from},
                      20));
    wait_until([&] { return counters().punted.value() == 1; });
    EXPECT_EQ(counters().punted_by_class[static_cast<std::size_t>(PuntClass::talking)].value(), 1u);
    punted();
    expect_accounted(counters());
}

TEST_P(HostWorkerTest, what_looks_like_a_probe_and_cannot_go_is_counted_and_freed) {
    send(probe_of_kernel(2, false, false, 41'000));  // of nobody
    Bytes elsewhere =
        tcp_frame({.source = ip("10.1.0.2"), .destination = ip("192.0.2.1"), .source_port = 41'001}, kSyn, 0,
                  {.to = kProbeGatewayMac});
    send(elsewhere);
    send(Bytes(elsewhere.begin(), elsewhere.begin() + 20));
    Bytes arp = arp_request(mode_vip(1, false), mode_vip(1, false));
    std::copy(kProbeGatewayMac.bytes.begin(), kProbeGatewayMac.bytes.end(), arp.begin());
    send(arp);
    probe_ports_.set(IpProtocol::tcp, 41'002, {BackendId{99}, ForwardingMode::ipip});  // without a next hop
    send(probe_of_kernel(2, false, false, 41'002));
    probe_ports_.set(IpProtocol::tcp, 41'001, {BackendId{0}, ForwardingMode::ipip});
    send(elsewhere);
    wait_until([&] { return counters().host_tx_refused[0].value() == 6; });
    EXPECT_TRUE(on_wire().empty());
    EXPECT_EQ(counters().originated[kOriginatedProbe].value(), 0u);
    expect_accounted(counters());
}

TEST_P(HostWorkerTest, a_dead_backend_is_still_probed) {
    const BackendId id = id_of("mode4", "a");
    world_->set_eligible(id, false);
    world_->republish();
    probe_ports_.set(IpProtocol::tcp, 42'000, {id, ForwardingMode::gue});
    wait_until([&] { return counters().snapshot_generation.value() == world_->generation(); });
    EXPECT_EQ(world_->snapshot()->backends[static_cast<std::size_t>(ForwardingMode::gue)][id].state,
              TrafficState::absent);
    send(probe_of_kernel(4, false, false, 42'000));
    wait_until([&] { return counters().originated[kOriginatedProbe].value() == 1; });
    EXPECT_EQ(on_wire().size(), 1u);
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
