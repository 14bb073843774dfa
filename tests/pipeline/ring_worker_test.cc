// The data plane as `weir run` builds it, over ports made of rings: two workers on threads of their own, two
// queues a port, one arm and two. What comes out is judged from the frames alone.
#include <array>
#include <chrono>
#include <set>
#include <thread>

#include "tests/drivers/eal_fixture.h"
#include "tests/support/ring_wires.h"
#include "tests/support/running_worker.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr unsigned kWorkers = 2;

enum class Shape : std::uint8_t { dsr, ipip_4in4, gue_6in6 };

struct Setup {
    Shape shape;
    unsigned arms;
    bool sleeps;
};
std::string name_of(const testing::TestParamInfo<Setup>& info) {
    const char* shapes[] = {"dsr", "ipip_4in4", "gue_6in6"};
    return std::string(shapes[static_cast<std::size_t>(info.param.shape)]) +
           (info.param.arms == 1 ? "_one_arm" : "_two_arms") + (info.param.sleeps ? "_sleeping" : "");
}

// Clients behind port 0; backends on it, too, or on port 1.
Config config_of(const Setup& setup) {
    Config config = edge_config();
    std::string net4 = "10.1.1.", net6 = "fd00:1::";
    if (setup.arms == 2) {
        PortConfig core;
        core.name = "core";
        core.addresses = {prefix("10.2.0.2/16"), prefix("fd00:2::2/64")};
        config.ports.push_back(core);
        net4 = "10.2.1.";
        net6 = "fd00:2::";
    }
    config.neighbors.clear();
    add_neighbor(config, "10.1.0.1", "02:00:00:00:00:fe");
    const std::string port = setup.arms == 2 ? "core" : "edge";
    for (const char* n : {"11", "12"}) {
        add_neighbor(config, net4 + n, std::string("02:00:00:00:04:") + n, port);
        add_neighbor(config, net6 + n, std::string("02:00:00:00:06:") + n, port);
    }
    const bool v6 = setup.shape == Shape::gue_6in6;
    const ForwardingMode modes[] = {ForwardingMode::dsr, ForwardingMode::ipip, ForwardingMode::gue};
    const std::string net = v6 ? net6 : net4;
    config.pools = {pool("web", {backend("a", net + "11"), backend("b", net + "12")})};
    config.services = {service("web", v6 ? "2001:db8:100::1" : "203.0.113.1", "web",
                               modes[static_cast<std::size_t>(setup.shape)])};
    config.services[0].udp = true;
    return config;
}

// Ports, world and workers, as Appliance puts them together.
class RingAppliance {
  public:
    RingAppliance(const Setup& setup, MbufPools& pools, PortSpec spec) : counters_(kWorkers) {
        static unsigned made = 0;
        ++made;
        WorldOptions options;
        for (unsigned p = 0; p < setup.arms; ++p) {
            spec.index = p;
            spec.name = p == 0 ? "edge" : "core";
            spec.mac = MacBytes{2, 0, 0, 0, 0, static_cast<std::uint8_t>(p + 1)};
            wires_.push_back(
                std::make_unique<RingWires>("w" + std::to_string(made) + "_" + std::to_string(p), 1024));
            auto port = Port::adopt(wires_.back()->ethdev, spec, pools);
            if (!port) {
                ADD_FAILURE() << port.error().message;
                std::abort();
            }
            ports_.push_back(std::move(*port));
            options.ports.push_back({.mac = MacAddress{ports_.back().mac()},
                                     .mtu = ports_.back().mtu(),
                                     .can_send_chains = ports_.back().can_send_chains()});
        }
        world_ = std::make_unique<World>(std::move(options), counters_.all());
        EXPECT_TRUE(world_->apply(config_of(setup)));
        for (std::uint16_t w = 0; w < kWorkers; ++w) {
            std::vector<WorkerQueues> queues;
            for (Port& port : ports_) queues.push_back({port.rx_queue(w), port.tx_queue(w)});
            workers_.push_back(std::make_unique<RunningWorker>(w, std::move(queues), counters_[w],
                                                               world_->published(), 8192, setup.sleeps));
        }
    }
    // Into the receive ring; waits for room.
    void push(unsigned port, unsigned worker, const Bytes& bytes) {
        rte_mbuf* packet = to_mbuf(*ports_[port].pool(), bytes);
        ASSERT_NE(packet, nullptr);
        ++pushed_[worker];
        while (rte_ring_enqueue(wires_[port]->in[worker], packet) != 0) std::this_thread::yield();
    }
    // Everything pushed has been received and everything sent is in the rings.
    void settle() {
        const auto deadline = Clock::now() + seconds(10);
        for (unsigned w = 0; w < kWorkers; ++w) {
            const auto settled = [&] {
                const WorkerCounters& c = counters_[w];
                return c.received.value() == pushed_[w] &&
                       c.forwarded.value() + c.answered.value() + dropped_in_all(c) == pushed_[w];
            };
            while (!settled() && Clock::now() < deadline) std::this_thread::yield();
            EXPECT_EQ(counters_[w].received.value(), pushed_[w]);
            expect_accounted(counters_[w]);
        }
    }
    std::vector<Bytes> take(unsigned port, unsigned worker) {
        std::vector<Bytes> sent;
        for (void* out = nullptr; rte_ring_dequeue(wires_[port]->out[worker], &out) == 0;) {
            sent.push_back(bytes_of(*static_cast<rte_mbuf*>(out)));
            rte_pktmbuf_free(static_cast<rte_mbuf*>(out));
        }
        return sent;
    }
    WorkerCounters& counters(unsigned worker) { return counters_[worker]; }
    void stop() {
        for (const auto& worker : workers_) worker->stop();
    }

  private:
    CountingWorkers counters_;
    std::vector<std::unique_ptr<RingWires>> wires_;
    std::vector<Port> ports_;
    std::unique_ptr<World> world_;
    std::vector<std::unique_ptr<RunningWorker>> workers_;
    std::array<std::uint64_t, kWorkers> pushed_{};
};

class RingWorkerTest : public DriversTest, public testing::WithParamInterface<Setup> {
  protected:
    static PortSpec two_queues() { return spec("edge", "", kWorkers); }
    static unsigned out_port() { return GetParam().arms - 1; }
    static IpAddress vip() {
        return ip(GetParam().shape == Shape::gue_6in6 ? "2001:db8:100::1" : "203.0.113.1");
    }

    static std::span<const std::uint8_t> slice(const Bytes& bytes, std::size_t at, std::size_t length) {
        return std::span(bytes).subspan(at, length);
    }
    // Judges the output of `in`; returns the last byte of its backend's MAC.
    static std::uint8_t judge(const Bytes& in, const Bytes& out) {
        const auto arm = static_cast<std::uint8_t>(GetParam().arms);
        const bool v6 = GetParam().shape == Shape::gue_6in6;
        EXPECT_EQ((Bytes{2, 0, 0, 0, static_cast<std::uint8_t>(v6 ? 6 : 4)}),
                  Bytes(out.begin(), out.begin() + 5));
        EXPECT_EQ((Bytes{2, 0, 0, 0, 0, arm}), Bytes(out.begin() + 6, out.begin() + 12));
        if (GetParam().shape == Shape::dsr)
            EXPECT_TRUE(std::equal(in.begin() + 12, in.end(), out.begin() + 12, out.end()));
        else if (v6)
            judge_gue_6in6(in, out);
        else
            judge_ipip_4in4(in, out);
        return out[5];
    }
    static void judge_ipip_4in4(const Bytes& in, const Bytes& out) {
        ASSERT_EQ(out.size(), in.size() + 20);
        EXPECT_TRUE(std::equal(in.begin() + 14, in.end(), out.begin() + 34)) << "the inner packet";
        EXPECT_EQ(word_at(out, 12), 0x0800);
        EXPECT_EQ(out[14], 0x45);
        EXPECT_EQ(word_at(out, 16), out.size() - 14);
        EXPECT_EQ(out[23], 4) << "protocol: IPv4 in IPv4";
        EXPECT_EQ(internet_checksum(slice(out, 14, 20)), 0);
        const auto arm = static_cast<std::uint8_t>(GetParam().arms);
        EXPECT_EQ((Bytes{10, arm, 0, 2}), Bytes(out.begin() + 26, out.begin() + 30));
        EXPECT_EQ((Bytes{10, arm, 1}), Bytes(out.begin() + 30, out.begin() + 33));
    }
    static void judge_gue_6in6(const Bytes& in, const Bytes& out) {
        constexpr std::size_t kUdp = 14 + 40, kInner = kUdp + 8 + 4;
        ASSERT_EQ(out.size(), in.size() + 40 + 12);
        EXPECT_TRUE(std::equal(in.begin() + 14, in.end(), out.begin() + kInner)) << "the inner packet";
        EXPECT_EQ(word_at(out, 12), 0x86dd);
        EXPECT_EQ(word_at(out, 18), out.size() - kUdp);
        EXPECT_EQ(out[20], 17);
        EXPECT_GE(word_at(out, kUdp), 49152);
        EXPECT_EQ(word_at(out, kUdp + 2), 6080);
        EXPECT_EQ(out[kUdp + 9], 41);
        Bytes covered(out.begin() + 22, out.begin() + kUdp);
        append_word(covered, 17);
        append_word(covered, out.size() - kUdp);
        append(covered, slice(out, kUdp, out.size() - kUdp));
        EXPECT_EQ(internet_checksum(covered), 0) << "outer UDP checksum";
        EXPECT_NE(word_at(out, kUdp + 6), 0);
    }
};

TEST_P(RingWorkerTest, every_packet_of_two_workers_leaves_as_its_backend_is_to_see_it) {
    constexpr std::uint32_t kFlows = 100, kPackets = 6;
    {
        RingAppliance appliance(GetParam(), pools_, two_queues());
        std::set<std::uint8_t> used;
        std::map<std::uint32_t, std::uint8_t> home;
        for (std::uint32_t round = 0; round < kPackets; ++round) {
            std::array<std::vector<Bytes>, kWorkers> pushed;
            for (std::uint32_t n = 0; n < kFlows; ++n) {
                const Tuple tuple = client_flow(5000 + n, vip());
                const Bytes frame = n % 3 == 0 ? udp_frame(tuple, 20 + n)
                                               : tcp_frame(tuple, round == 0 ? kSyn : kAck, round * 100 + n);
                pushed[n % kWorkers].push_back(frame);
                appliance.push(0, n % kWorkers, frame);
            }
            appliance.settle();
            for (unsigned w = 0; w < kWorkers; ++w) {
                const std::vector<Bytes> sent = appliance.take(out_port(), w);
                ASSERT_EQ(sent.size(), pushed[w].size()) << "a worker sends on its own queue, in order";
                for (std::uint32_t i = 0; i < sent.size(); ++i) {
                    const std::uint8_t backend = judge(pushed[w][i], sent[i]);
                    used.insert(backend);
                    const auto [known, is_new] = home.try_emplace(i * kWorkers + w, backend);
                    EXPECT_EQ(known->second, backend) << "flow " << i * kWorkers + w;
                    EXPECT_EQ(is_new, round == 0);
                }
            }
        }
        EXPECT_EQ(used, (std::set<std::uint8_t>{0x11, 0x12}));
        for (unsigned w = 0; w < kWorkers; ++w) {
            EXPECT_EQ(appliance.counters(w).forwarded.value(), kPackets * kFlows / kWorkers);
            EXPECT_EQ(appliance.counters(w).flow_entries.value(), kFlows / kWorkers);
            if (GetParam().arms == 2) {
                EXPECT_TRUE(appliance.take(0, w).empty()) << "nothing leaves by the clients' port";
            }
        }
        appliance.stop();
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_P(RingWorkerTest, answers_leave_by_the_port_that_asked_and_drops_are_counted_exactly) {
    {
        RingAppliance appliance(GetParam(), pools_, two_queues());
        const IpAddress client = client_flow(1, vip()).source;
        const IpAddress stranger = ip(vip().is_v4() ? "203.0.113.99" : "2001:db8:100::99");
        for (unsigned w = 0; w < kWorkers; ++w) {
            for (std::uint32_t n = 0; n < 40; ++n) {
                appliance.push(0, w, tcp_frame(client_flow(n, vip()), kSyn));
                appliance.push(0, w, echo_request(client, vip(), n));
                appliance.push(0, w, tcp_frame(client_flow(n, stranger), kSyn));
                appliance.push(0, w, tcp_frame(client_flow(n, vip(), 81), kSyn));
            }
            appliance.push(0, w, arp_request(ip("10.1.0.1"), ip("203.0.113.1")));
            appliance.push(0, w, Bytes{1, 2, 3});
        }
        appliance.settle();
        const std::uint64_t arp_answered = vip().is_v4() ? 1 : 0;
        for (unsigned w = 0; w < kWorkers; ++w) {
            const WorkerCounters& counters = appliance.counters(w);
            EXPECT_EQ(counters.received.value(), 162u);
            EXPECT_EQ(counters.forwarded.value(), 40u);
            EXPECT_EQ(counters.answered.value(), 40 + arp_answered);
            EXPECT_EQ(dropped(counters, DropReason::not_vip), 40u);
            EXPECT_EQ(dropped(counters, DropReason::no_service), 40u);
            EXPECT_EQ(dropped(counters, DropReason::arp_not_vip), 1 - arp_answered);
            EXPECT_EQ(dropped(counters, DropReason::runt_frame), 1u);
            const std::size_t by_clients_port = appliance.take(0, w).size();
            const std::size_t by_other_port = GetParam().arms == 2 ? appliance.take(1, w).size() : 0;
            EXPECT_EQ(by_clients_port, 40 + arp_answered + (GetParam().arms == 1 ? 40 : 0));
            EXPECT_EQ(by_other_port, GetParam().arms == 2 ? 40u : 0u);
        }
        appliance.stop();
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

// nobody takes what weir sends. Nothing is kept for later: a ring's worth leaves, the rest is counted.
TEST_P(RingWorkerTest, a_transmit_ring_that_nobody_empties_costs_the_packets_that_do_not_fit) {
    constexpr std::uint32_t kSent = 1300, kRoom = 1023;
    {
        RingAppliance appliance(GetParam(), pools_, two_queues());
        for (std::uint32_t n = 0; n < kSent; ++n)
            appliance.push(0, 0, tcp_frame(client_flow(n % 500, vip()), kAck));
        appliance.settle();
        EXPECT_EQ(appliance.counters(0).forwarded.value(), kRoom);
        EXPECT_EQ(dropped(appliance.counters(0), DropReason::tx_full), kSent - kRoom);
        EXPECT_EQ(appliance.take(out_port(), 0).size(), kRoom);
        // Emptied: it goes on at once.
        for (std::uint32_t n = 0; n < 50; ++n) appliance.push(0, 0, tcp_frame(client_flow(n, vip()), kAck));
        appliance.settle();
        EXPECT_EQ(appliance.take(out_port(), 0).size(), 50u);
        appliance.stop();
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Shapes, RingWorkerTest,
                         testing::Values(Setup{Shape::dsr, 1, true}, Setup{Shape::dsr, 2, true},
                                         Setup{Shape::ipip_4in4, 1, true}, Setup{Shape::ipip_4in4, 2, false},
                                         Setup{Shape::gue_6in6, 1, false}, Setup{Shape::gue_6in6, 2, true}),
                         name_of);

}  // namespace
}  // namespace weir::test
