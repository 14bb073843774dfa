// Ports over kernel interfaces that go down, change, vanish and come again, under the eyes of the keeper and
// with a worker of the product that forwards. Root only, in a network namespace of its own.
#include "ctrl/port_keeper.h"

#include <filesystem>
#include <thread>

#include "drivers/xdp_program.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/drivers/kernel_wire.h"
#include "tests/support/running_worker.h"
#include "tests/support/sanitized.h"
#include "tests/support/small_world.h"

// DPDK's way in for drivers, which no installed header declares: raises an event as a driver does.
extern "C" {
rte_eth_dev* rte_eth_dev_allocated(const char* name);
int rte_eth_dev_callback_process(rte_eth_dev* device, rte_eth_event_type event, void* argument);
}

namespace weir::test {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Of libxdp, which net_af_xdp needs: passes every frame on.
constexpr const char* kProgram = "/usr/lib/x86_64-linux-gnu/bpf/xsk_def_xdp_prog.o";
// From the link to the first frame.
constexpr milliseconds kBack{kSanitized ? 10'000 : 1000};

// Clients come by "edge" (wire0), backends are behind "core" (wire2), dsr.
Config config_of_two_ports() {
    Config config = edge_config();
    PortConfig core;
    core.name = "core";
    core.addresses = {prefix("10.2.0.2/16")};
    config.ports.push_back(core);
    config.pools = {pool("web", {backend("a", "10.2.1.11")})};
    config.services = {service("web", "203.0.113.10", "web", ForwardingMode::dsr)};
    config.services[0].udp = true;
    add_neighbor(config, "10.2.1.11", "02:00:00:00:00:11", "core");
    return config;
}

// What `weir run` puts together, with one worker; it sleeps where the ports are asked for interrupts.
class KeptAppliance {
  public:
    explicit KeptAppliance(MbufPools& pools, const PortSpec& edge, const PortSpec& core) : counters_(1) {
        struct sigaction nothing {};
        nothing.sa_handler = [](int) {};
        sigaction(SIGUSR2, &nothing, nullptr);
        WorldOptions options;
        options.notify = [this](Severity, const std::string& sentence) { said += sentence + "\n"; };
        options.wake_workers = [this] {
            if (worker_) worker_->wake();
        };
        for (const PortSpec& spec : {edge, core}) {
            auto port = Port::open(spec, pools);
            if (!port) {
                ADD_FAILURE() << port.error().message;
                std::abort();
            }
            options.ports.push_back({.mac = MacAddress{port->mac()}, .mtu = port->mtu()});
            ports_.push_back(std::move(*port));
        }
        world_ = std::make_unique<World>(std::move(options), counters_.all());
        EXPECT_TRUE(world_->apply(config_of_two_ports()));
        std::vector<WorkerQueues> queues;
        for (Port& port : ports_) queues.push_back({port.rx_queue(0), port.tx_queue(0)});
        worker_ = std::make_unique<RunningWorker>(0, std::move(queues), counters_[0], world_->published(),
                                                  8192, edge.rx_interrupts,
                                                  std::ranges::all_of(ports_, &Port::has_rx_interrupts));
        keeper_ = std::make_unique<PortKeeper>(ports_, pools, *world_, [this](Port& port) {
            worker_->set_queues(static_cast<PortId>(port.index()), {port.rx_queue(0), port.tx_queue(0)});
        });
    }
    ~KeptAppliance() { worker_->stop(); }
    // The control loop, until the condition holds or time is up. Returns how long it took.
    template <class Condition>
    milliseconds run_until(Condition&& condition, milliseconds limit = kBack) {
        const auto begun = Clock::now();
        while (!condition() && Clock::now() - begun < limit) {
            world_->tick();
            keeper_->poll();
            std::this_thread::sleep_for(milliseconds(2));
        }
        return std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
    }
    [[nodiscard]] PortKeeper& keeper() { return *keeper_; }
    [[nodiscard]] Port& port(std::size_t i) { return ports_[i]; }
    [[nodiscard]] WorkerCounters& counters() { return counters_[0]; }
    [[nodiscard]] World& world() { return *world_; }
    std::string said;

  private:
    CountingWorkers counters_;
    std::vector<Port> ports_;
    std::unique_ptr<World> world_;
    std::unique_ptr<RunningWorker> worker_;
    std::unique_ptr<PortKeeper> keeper_;
};

std::size_t open_descriptors() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

class PortKeeperTest : public DriversTest {
  protected:
    static void SetUpTestSuite() {
        if (getuid() != 0) return;
        enter_own_network();
        DriversTest::SetUpTestSuite();
    }
    void SetUp() override {
        if (getuid() != 0)
            GTEST_SKIP() << "NOT TESTED: kernel interfaces that come and go need root; run as root";
        make_wire("wire0", "wire1");
        make_wire("wire2", "wire3");
        edge_ = spec("edge", "net_af_packet0,iface=wire0");
        core_ = spec("core", "net_af_packet1,iface=wire2");
        core_.index = 1;
        weir_ = std::make_unique<KeptAppliance>(pools_, edge_, core_);
        EXPECT_LT(time_to_forward(), kBack);
    }
    void TearDown() override {
        if (getuid() != 0) return;
        weir_.reset();
        EXPECT_EQ(pools_.in_use(), 0u) << "every frame is back";
        for (const char* wire : {"wire0", "wire2"})
            if (if_nametoindex(wire) != 0) shell(std::string("ip link del ") + wire);
    }
    // Sends packets of a flow into wire1 until one comes out of wire3.
    milliseconds time_to_forward() {
        const RawSocket client("wire1"), servers("wire3");
        return weir_->run_until([&] {
            client.offer(packet(7));
            return servers.take_all(ETHERTYPE_IP) != 0;
        });
    }
    [[nodiscard]] Bytes packet(std::uint32_t flow, std::size_t payload = 20) const {
        Link link;
        link.to = MacAddress{weir_->port(0).mac()};
        return udp_frame(client_flow(flow, ip("203.0.113.10")), payload, true, link);
    }
    [[nodiscard]] bool link_up(std::size_t port) const { return weir_->keeper().link_up(port); }

    PortSpec edge_, core_;
    std::unique_ptr<KeptAppliance> weir_;
};

TEST_F(PortKeeperTest, twenty_flaps_cost_no_flow_no_frame_and_no_descriptor) {
    const std::size_t descriptors = open_descriptors();
    const std::uint64_t flows = weir_->counters().flow_inserts.value();
    for (int flap = 0; flap < 20; ++flap) {
        const std::string wire = flap % 2 == 0 ? "wire0" : "wire2";
        const std::size_t port = flap % 2 == 0 ? 0 : 1;
        shell("ip link set " + wire + " down");
        EXPECT_LT(weir_->run_until([&] { return !link_up(port); }), milliseconds(500));
        shell("ip link set " + wire + " up");
        EXPECT_LT(time_to_forward(), kBack) << "flap " << flap;
        EXPECT_TRUE(link_up(port));
    }
    EXPECT_EQ(open_descriptors(), descriptors);
    EXPECT_EQ(weir_->counters().flow_inserts.value(), flows);
    EXPECT_EQ(weir_->keeper().resets(0), 10u);
    expect_accounted(weir_->counters());
}

TEST_F(PortKeeperTest, a_lost_carrier_shows_at_once_and_leaves_the_device_alone) {
    for (int flap = 0; flap < 3; ++flap) {
        shell("ip link set wire3 down");
        EXPECT_LT(weir_->run_until([&] { return !link_up(1); }), kBack);
        EXPECT_TRUE(link_up(0));
        shell("ip link set wire3 up");
        EXPECT_LT(weir_->run_until([&] { return link_up(1); }), kBack);
        EXPECT_LT(time_to_forward(), kBack);
    }
    EXPECT_EQ(weir_->keeper().resets(1), 0u);
    EXPECT_TRUE(says(weir_->said, {"port core: the link is down", "port core: the link is up"}));
}

TEST_F(PortKeeperTest, an_interface_that_is_deleted_and_made_again_serves_with_its_new_mac) {
    const std::size_t descriptors = open_descriptors();
    for (int times = 0; times < 3; ++times) {
        const MacBytes before = weir_->port(0).mac();
        shell("ip link del wire0");
        EXPECT_LT(weir_->run_until([&] { return !weir_->port(0).is_open(); }), kBack);
        EXPECT_FALSE(link_up(0));
        weir_->run_until([] { return false; }, milliseconds(50));
        make_wire("wire0", "wire1");
        EXPECT_LT(weir_->run_until([&] { return link_up(0); }), kBack);
        EXPECT_NE(weir_->port(0).mac(), before);
        EXPECT_EQ(weir_->world().snapshot()->ports[0].mac, MacAddress{weir_->port(0).mac()});
        EXPECT_LT(time_to_forward(), kBack);
    }
    EXPECT_EQ(open_descriptors(), descriptors);
    EXPECT_EQ(weir_->counters().flow_inserts.value(), 1u);
    EXPECT_TRUE(says(weir_->said, {"port edge: interface wire0 is gone", "port edge serves again"}));
    EXPECT_GT(weir_->port(0).stats().rx_packets, 3u) << "statistics go on where they were";
}

TEST_F(PortKeeperTest, an_interface_that_weir_takes_over_is_taken_again_and_set_up) {
    const auto silenced = [] { return succeeds("nft list table netdev weir_wire0 | grep -q wire0"); };
    // With AF_XDP, and with AF_PACKET because of somebody's program.
    for (const bool by_xdp : {true, false}) {
        weir_.reset();
        if (!by_xdp) shell("ip link set wire0 xdp obj " + std::string(kProgram) + " sec xdp");
        edge_.device = "wire0";
        weir_ = std::make_unique<KeptAppliance>(pools_, edge_, core_);
        EXPECT_EQ(weir_->port(0).driver(), by_xdp ? "net_af_xdp" : "net_af_packet");
        EXPECT_LT(time_to_forward(), kBack);
        shell("ip link set wire0 down");
        EXPECT_LT(weir_->run_until([&] { return !link_up(0); }), kBack);
        weir_->run_until([] { return false; }, milliseconds(50));
        EXPECT_FALSE(link_up(0)) << "what the operator sets down stays down";
        EXPECT_TRUE(silenced()) << "and silent";
        shell("ip link del wire0");
        EXPECT_LT(weir_->run_until([&] { return weir_->said.find("wire0 is gone") != std::string::npos; }),
                  kBack);
        shell("ip link add wire0 type veth peer name wire1");
        shell("ip link set wire1 up");
        EXPECT_LT(time_to_forward(), kBack);
        EXPECT_EQ(weir_->port(0).driver(), "net_af_xdp") << "the new interface has no program";
        EXPECT_TRUE(silenced());
        EXPECT_EQ(weir_->counters().flow_inserts.value(), 1u);
        weir_.reset();
        EXPECT_FALSE(silenced());
        EXPECT_FALSE(has_xdp_program("wire0"));
    }
}

TEST_F(PortKeeperTest, an_af_xdp_interface_that_flaps_is_served_on_by_the_same_device) {
    weir_.reset();
    edge_.device = "wire0";
    weir_ = std::make_unique<KeptAppliance>(pools_, edge_, core_);
    EXPECT_LT(time_to_forward(), kBack);
    const RawSocket client("wire1"), servers("wire3");
    const std::size_t descriptors = open_descriptors();
    for (int flap = 0; flap < 10; ++flap) {
        shell("ip link set wire0 down");
        EXPECT_LT(weir_->run_until([&] { return !link_up(0); }), milliseconds(500));
        EXPECT_FALSE(weir_->world().snapshot()->ports[0].enabled) << "nothing waits in its ring";
        shell("ip link set wire0 up");
        EXPECT_LT(time_to_forward(), kBack) << "flap " << flap;
        EXPECT_TRUE(link_up(0));
    }
    EXPECT_EQ(open_descriptors(), descriptors);
    EXPECT_EQ(weir_->keeper().resets(0), 0u) << "made anew it would lose the frames in its rings each time";
    EXPECT_EQ(weir_->counters().flow_inserts.value(), 1u);
    expect_accounted(weir_->counters());
}

TEST_F(PortKeeperTest, an_interface_that_is_replaced_between_two_looks_is_noticed) {
    shell("ip link del wire0");
    make_wire("wire0", "wire1");
    EXPECT_LT(time_to_forward(), kBack);
    EXPECT_EQ(weir_->keeper().resets(0), 1u);
}

TEST_F(PortKeeperTest, an_mtu_below_the_configured_one_is_kept_to_and_ends_when_it_is_raised) {
    const RawSocket client("wire1");
    for (int times = 0; times < 2; ++times) {
        shell("ip link set wire2 mtu 1000");
        EXPECT_LT(weir_->run_until([&] { return weir_->port(1).mtu() == 1000 && link_up(1); }), kBack);
        EXPECT_TRUE(says(weir_->said,
                         {"port core: interface wire2 has an MTU of 1000 now, below the configured 1500"}));
        client.offer(packet(9, 1200));
        const auto too_big = [&] { return dropped(weir_->counters(), DropReason::too_big); };
        const auto wanted = static_cast<std::uint64_t>(times) + 1;
        EXPECT_LT(weir_->run_until([&] { return too_big() == wanted; }), kBack);
        EXPECT_LT(time_to_forward(), kBack);
        shell("ip link set wire2 mtu 1500");
        EXPECT_LT(weir_->run_until([&] { return weir_->port(1).mtu() == 1500 && link_up(1); }), kBack);
        EXPECT_LT(time_to_forward(), kBack);
    }
}

TEST_F(PortKeeperTest, a_device_that_asks_for_a_reset_gets_one) {
    for (const char* device : {"net_af_packet0", "net_af_packet1"}) {
        ASSERT_EQ(
            rte_eth_dev_callback_process(rte_eth_dev_allocated(device), RTE_ETH_EVENT_INTR_RESET, nullptr),
            0);
        EXPECT_LT(time_to_forward(), kBack);
    }
    weir_->run_until([&] { return weir_->keeper().resets(1) == 1; });
    EXPECT_EQ(weir_->keeper().resets(0), 1u);
    EXPECT_EQ(weir_->keeper().resets(1), 1u);
    EXPECT_EQ(weir_->counters().flow_inserts.value(), 1u);
    EXPECT_TRUE(says(weir_->said, {"port edge: the device asks for a reset"}));
}

// A sleep that a frame ends lasts as long as one may; naps are five times as many.
TEST_F(PortKeeperTest, after_a_reset_the_worker_sleeps_with_interrupts_again) {
    weir_.reset();
    edge_ = spec("edge", "net_tap0,iface=wtap0");
    core_ = spec("core", "net_tap1,iface=wtap1");
    core_.index = 1;
    edge_.rx_interrupts = core_.rx_interrupts = true;
    weir_ = std::make_unique<KeptAppliance>(pools_, edge_, core_);
    ASSERT_TRUE(weir_->port(0).has_rx_interrupts() && weir_->port(1).has_rx_interrupts());
    const auto sleeps_in_a_second = [&] {
        weir_->run_until([] { return false; }, milliseconds(200));
        const std::uint64_t before = weir_->counters().sleeps.value();
        weir_->run_until([] { return false; }, milliseconds(1'000));
        return weir_->counters().sleeps.value() - before;
    };
    const auto best_wait = [&] {
        const RawSocket client("wtap0"), servers("wtap1");
        milliseconds best = kBack;
        for (int n = 0; n < 10; ++n) {
            std::this_thread::sleep_for(milliseconds(50));
            const auto sent = Clock::now();
            client.offer(packet(7));
            while (servers.take_all(ETHERTYPE_IP) == 0 && Clock::now() - sent < kBack)
                std::this_thread::yield();
            best = std::min(best, std::chrono::duration_cast<milliseconds>(Clock::now() - sent));
        }
        return best;
    };
    EXPECT_LT(sleeps_in_a_second(), 100u);
    for (std::size_t times = 1; times <= 3; ++times) {
        const char* device = times % 2 == 1 ? "net_tap0" : "net_tap1";
        const std::size_t port = times % 2 == 1 ? 0 : 1;
        const std::uint64_t resets = weir_->keeper().resets(port);
        ASSERT_EQ(
            rte_eth_dev_callback_process(rte_eth_dev_allocated(device), RTE_ETH_EVENT_INTR_RESET, nullptr),
            0);
        EXPECT_LT(weir_->run_until([&] { return weir_->keeper().resets(port) == resets + 1; }), kBack);
        EXPECT_LT(sleeps_in_a_second(), 100u) << "after reset " << times;
        EXPECT_LT(best_wait(), milliseconds(10)) << "a frame ends the sleep";
    }
    expect_accounted(weir_->counters());
}

// ENA raises no event for these (DPDK 22.11).
TEST_F(PortKeeperTest, growing_error_counters_are_a_request_for_a_reset) {
    using Counters = std::vector<std::pair<std::string, std::uint64_t>>;
    PortEvents& events = weir_->port(0).events();
    const auto asks_after = [&](const Counters& counters) {
        events.look_at(counters);
        return events.take_reset_request();
    };
    EXPECT_FALSE(asks_after({{"rx_q0_bad_req_id", 3}, {"tx_q1_cnt", 5}})) << "from an earlier life";
    EXPECT_FALSE(asks_after({{"rx_q0_bad_req_id", 3}, {"tx_q1_cnt", 9}}));
    EXPECT_TRUE(asks_after({{"rx_q0_bad_req_id", 4}, {"tx_q1_cnt", 9}}));
    EXPECT_FALSE(asks_after({{"rx_q0_bad_req_id", 4}, {"tx_q1_cnt", 9}}));
    EXPECT_TRUE(asks_after({{"rx_q0_bad_req_id", 4}, {"tx_q1_prepare_ctx_err", 1}}));
    EXPECT_TRUE(
        asks_after({{"rx_q0_bad_req_id", 4}, {"tx_q1_prepare_ctx_err", 1}, {"rx_q7_bad_desc_num", 1}}));
}

TEST_F(PortKeeperTest, a_flood_towards_a_port_that_goes_down_holds_nobody_up) {
    const RawSocket client("wire1");
    shell("ip link set wire2 down");
    for (std::uint32_t n = 0; n < 2'000; ++n) client.offer(packet(n));  // more than the driver's ring takes
    const std::uint64_t loops = weir_->counters().loops.value();
    EXPECT_LT(weir_->run_until([&] { return !weir_->port(1).is_open(); }), kBack);
    client.offer(packet(1));
    const auto discarded = [&] { return dropped(weir_->counters(), DropReason::port_down); };
    EXPECT_LT(weir_->run_until([&] { return discarded() != 0; }), kBack);
    EXPECT_GT(weir_->counters().loops.value(), loops);
    EXPECT_TRUE(says(weir_->said, {"port core: interface wire2 is down (`ip link set wire2 up`)"}));
    shell("ip link set wire2 up");
    EXPECT_LT(time_to_forward(), kBack);
}

}  // namespace
}  // namespace weir::test
