// Frames between workers and the kernel: the test is the worker and the wire, the kernel of a network
// namespace of its own is the host. What needs a TAP needs root; rings and posted frames do not.
#include "drivers/host_thread.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "dataplane/net/address_text.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/drivers/kernel_sockets.h"
#include "tests/drivers/own_network.h"

namespace weir::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr MacBytes kMac{0x02, 0, 0, 0, 0, 0x01};
constexpr MacBytes kPeerMac{0x02, 0, 0, 0, 0, 0xfe};
constexpr unsigned kWorkers = 2;

IpAddress ip(const char* text) { return *parse_ip_address(text); }

class HostThreadTest : public DriversTest {
  protected:
    static void SetUpTestSuite() {
        enter_own_network();
        auto options = unprivileged_eal();
        options.worker_cpus = {};
        options.host_thread = true;
        static Result<Eal> eal = Eal::start(options);
        ASSERT_TRUE(eal) << eal.error().message;
        lcore_ = eal->host_lcore();
    }
    // What is left over belongs to the test's tables.
    void TearDown() override {
        host_.reset();
        twins_.clear();
        EXPECT_EQ(pools_.in_use(), 0u);
    }
    rte_mempool* pool() { return pools_.pool_for(SOCKET_ID_ANY).value(); }
    void start(std::vector<HostPort> ports) {
        auto made = HostThread::make(std::move(ports), kWorkers);
        ASSERT_TRUE(made) << made.error().message;
        host_ = std::move(*made);
        host_->launch(lcore_, [this](unsigned worker) { wakes_[worker].fetch_add(1); });
    }
    // `ports` ports with a twin each: twin0 has 10.9.0.1/24 and fd09::1/64, twin1 has 10.9.1.1/24 and so on.
    // On each the peer is .2, whose MAC is known.
    void start_with_twins(unsigned ports, std::uint16_t mtu = 1500, bool can_send_chains = true) {
        twins_.reserve(ports);
        std::vector<HostPort> host_ports;
        for (unsigned port = 0; port < ports; ++port) {
            const std::string n = std::to_string(port), v4 = "10.9." + n + ".", v6 = "fd09:" + n + "::";
            std::ofstream("/proc/sys/net/ipv6/conf/default/router_solicitations") << 0;
            auto twin = HostTap::open(
                {.name = "twin" + n, .mac = kMac, .mtu = mtu, .addresses = {v4 + "1/24", v6 + "1/64"}});
            ASSERT_TRUE(twin) << twin.error().message;
            twins_.push_back(std::move(*twin));
            EXPECT_TRUE(twins_[port].install({}, {{v4 + "2", kPeerMac}, {v6 + "2", kPeerMac}}).empty());
            host_ports.push_back({pool(), can_send_chains, &twins_[port]});
        }
        start(std::move(host_ports));
    }
    void needs_root() {
        if (!is_root()) GTEST_SKIP() << "NOT TESTED: frames through a TAP need root; run as root";
    }

    // --- the worker

    void punt(const Bytes& frame, unsigned port = 0, unsigned worker = 0) {
        rte_mbuf* packet = to_mbuf(*pool(), frame);
        ASSERT_NE(packet, nullptr);
        packet->port = static_cast<std::uint16_t>(port);
        ASSERT_EQ(host_->rings(worker).punt({&packet, 1}), 1u);
    }
    struct Outgoing {
        unsigned port;
        OutgoingKind kind;
        Bytes frame;
    };
    // What has come down for a worker within a second, until there are `count`. The kernel's own neighbour
    // discovery and group reports, which go to groups, are left out.
    std::vector<Outgoing> take(std::size_t count, unsigned worker = 0) {
        std::vector<Outgoing> taken;
        for (const auto end = Clock::now() + std::chrono::seconds(1); taken.size() < count;) {
            rte_mbuf* burst[32];
            const auto got = host_->rings(worker).take(burst);
            for (std::uint32_t i = 0; i < got; ++i) {
                Outgoing one{burst[i]->port, static_cast<OutgoingKind>(burst[i]->hash.usr),
                             bytes_of(*burst[i])};
                rte_pktmbuf_free(burst[i]);
                if (one.frame[0] != 0x33) taken.push_back(std::move(one));
            }
            if (got == 0 && Clock::now() > end) break;
            if (got == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        return taken;
    }
    // True once it is; false after a second.
    template <class Condition>
    static bool comes_true(Condition condition) {
        for (int tries = 0; tries < 1'000; ++tries, usleep(1'000))
            if (condition()) return true;
        return false;
    }

    static inline unsigned lcore_ = 0;
    std::vector<HostTap> twins_;
    std::unique_ptr<HostThread> host_;
    std::array<std::atomic<unsigned>, kWorkers> wakes_{};  // of each worker
};

// A frame's UDP data if its checksums are right, else what is wrong with them.
Bytes udp_data(const Bytes& frame) {
    const bool v4 = word_at(frame, 12) == 0x0800;
    const std::size_t l4 = v4 ? 34 : 54;
    if (v4) {
        EXPECT_EQ(internet_checksum(std::span(frame).subspan(14, 20)), 0) << "IPv4 header checksum";
    }
    Bytes covered;
    append(covered, std::span(frame).subspan(v4 ? 26 : 22, v4 ? 8 : 32));
    append_word(covered, 17);
    append_word(covered, word_at(frame, l4 + 4));
    append(covered, std::span(frame).subspan(l4, word_at(frame, l4 + 4)));
    EXPECT_EQ(internet_checksum(covered), 0) << "UDP checksum";
    return {frame.begin() + static_cast<std::ptrdiff_t>(l4) + 8, frame.end()};
}

TEST_F(HostThreadTest, the_kernel_answers_pings_of_its_address) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1);
    for (const auto& [peer, own] : {std::pair("10.9.0.2", "10.9.0.1"), std::pair("fd09:0::2", "fd09:0::1")}) {
        punt(echo_request(ip(peer), ip(own), 100));
        const auto answers = take(1);
        ASSERT_EQ(answers.size(), 1u) << own;
        const Bytes& answer = answers[0].frame;
        EXPECT_TRUE(std::equal(kPeerMac.begin(), kPeerMac.end(), answer.begin()));
        EXPECT_TRUE(std::equal(kMac.begin(), kMac.end(), answer.begin() + 6));
        EXPECT_EQ(answer[word_at(answer, 12) == 0x0800 ? 34 : 54], word_at(answer, 12) == 0x0800 ? 0 : 129);
        EXPECT_EQ(answers[0].port, 0u);
        EXPECT_EQ(answers[0].kind, OutgoingKind::host);
    }
    EXPECT_EQ(host_->stats(0).rx_packets, 2u);
    EXPECT_EQ(host_->stats(0).rx_bytes, 14u + 20 + 8 + 100 + 14 + 40 + 8 + 100);
}

TEST_F(HostThreadTest, the_kernel_asks_for_and_answers_arp_there) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1);
    const UdpSocket socket(ip("10.9.0.1"), 7'000);
    socket.send(ip("10.9.0.9"), 7, {1, 2, 3});
    const auto asked = take(1);
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(word_at(asked[0].frame, 12), 0x0806);
    EXPECT_EQ(asked[0].frame[41], 9) << "the address asked for ends in 9";
}

TEST_F(HostThreadTest, checksums_are_complete_and_the_order_is_kept_in_both_directions) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1);
    for (const auto& [peer, own] : {std::pair("10.9.0.2", "10.9.0.1"), std::pair("fd09:0::2", "fd09:0::1")}) {
        const UdpSocket socket(ip(own), 7'000);
        for (std::uint8_t n = 0; n < 200; ++n) socket.send(ip(peer), 7, Bytes(n + 1u, n));
        const auto frames = take(200);
        ASSERT_EQ(frames.size(), 200u) << own;
        for (std::uint8_t n = 0; n < 200; ++n) EXPECT_EQ(udp_data(frames[n].frame), Bytes(n + 1u, n));
        for (std::uint8_t n = 0; n < 200; ++n) punt(udp_frame({ip(peer), ip(own), 7, 7'000}, n));
        for (std::uint8_t n = 0; n < 200; ++n) EXPECT_EQ(socket.receive(), payload(n)) << own;
    }
}

TEST_F(HostThreadTest, a_packet_from_a_vip_gets_through_to_the_kernel) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1);
    const UdpSocket socket(ip("10.9.0.1"), 7'000);
    punt(udp_frame({ip("203.0.113.10"), ip("10.9.0.1"), 80, 7'000}, 10));
    EXPECT_EQ(socket.receive(), payload(10));
}

TEST_F(HostThreadTest, a_vlan_tag_stays_as_it_is) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1);
    const PacketSocket kernel("twin0");
    Bytes tagged = udp_frame({ip("10.9.0.2"), ip("10.9.0.1"), 7, 7'000}, 50);
    const Bytes tag{0x81, 0x00, 0x00, 0x2a};
    tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
    punt(tagged);
    const auto up = kernel.receive_like(tagged);
    ASSERT_TRUE(up);
    EXPECT_EQ(*up, std::pair(42u, tagged.size() - 4));
    kernel.send(tagged);
    const auto down = take(1);
    ASSERT_EQ(down.size(), 1u);
    EXPECT_EQ(down[0].frame, tagged);
}

TEST_F(HostThreadTest, long_frames_are_chains) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1, 9'000);
    const UdpSocket socket(ip("10.9.0.1"), 7'000);
    punt(udp_frame({ip("10.9.0.2"), ip("10.9.0.1"), 7, 7'000}, 8'900));
    EXPECT_EQ(socket.receive(), payload(8'900));
    socket.send(ip("10.9.0.2"), 7, payload(8'900));
    const auto down = take(1);
    ASSERT_EQ(down.size(), 1u);
    EXPECT_EQ(udp_data(down[0].frame), payload(8'900));
}

TEST_F(HostThreadTest, a_frame_too_long_for_a_device_without_chains_is_counted) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1, 9'000, false);
    const UdpSocket socket(ip("10.9.0.1"), 7'000);
    socket.send(ip("10.9.0.2"), 7, payload(8'900));
    socket.send(ip("10.9.0.2"), 7, payload(9));
    const auto down = take(1);
    ASSERT_EQ(down.size(), 1u);
    EXPECT_EQ(udp_data(down[0].frame), payload(9));
    EXPECT_EQ(host_->stats(0).tx_too_long, 1u);
}

TEST_F(HostThreadTest, frames_wait_in_the_kernel_while_the_workers_ring_is_full_and_hold_up_no_other_port) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(2);
    const UdpSocket socket(ip("10.9.0.1"), 7'000), other(ip("10.9.1.1"), 7'000);
    const std::uint8_t many = HostRings::kFrames - 1;
    for (unsigned round = 0; round < 2; ++round)
        for (std::uint8_t n = 0; n < many; ++n) socket.send(ip("10.9.0.2"), 7, Bytes{n});
    EXPECT_TRUE(comes_true([&] { return !host_->rings(0).has_room(); }));
    other.send(ip("10.9.1.2"), 7, {7});
    const auto through = take(1, 1);
    ASSERT_EQ(through.size(), 1u) << "port 1 is worker 1's";
    EXPECT_TRUE(comes_true([&] { return wakes_[1].load() > 0; }));
    EXPECT_EQ(through[0].port, 1u);
    const auto late = take(2u * many);
    ASSERT_EQ(late.size(), 2u * many) << "nothing is lost";
    for (std::size_t n = 0; n < late.size(); ++n)
        EXPECT_EQ(udp_data(late[n].frame), Bytes{static_cast<std::uint8_t>(n % many)});
}

TEST_F(HostThreadTest, what_the_kernel_does_not_take_is_counted_by_reason) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1);
    const Bytes frame = echo_request(ip("10.9.0.2"), ip("10.9.0.1"), 10);
    punt(Bytes(10));
    EXPECT_TRUE(comes_true([&] { return host_->stats(0).rx_refused == 1; }));
    shell("ip link set twin0 down");
    punt(frame);
    EXPECT_TRUE(comes_true([&] { return host_->stats(0).rx_interface_down == 1; }));
    EXPECT_FALSE(host_->stats(0).interface_gone);
    shell("ip link del twin0");
    EXPECT_TRUE(comes_true([&] { return host_->stats(0).interface_gone; }));
    punt(frame);
    EXPECT_TRUE(comes_true([&] { return host_->stats(0).rx_no_interface == 1; }));
    EXPECT_EQ(host_->stats(0).rx_packets, 0u);
}

TEST_F(HostThreadTest, a_frame_that_is_punted_while_it_sleeps_wakes_it) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1);
    const UdpSocket socket(ip("10.9.0.1"), 7'000);
    std::vector<double> milliseconds;
    for (int round = 0; round < 51; ++round) {
        usleep(15'000);  // well asleep
        const auto sent = Clock::now();
        punt(udp_frame({ip("10.9.0.2"), ip("10.9.0.1"), 7, 7'000}, 10));
        EXPECT_EQ(socket.receive(), payload(10));
        milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - sent).count());
    }
    std::ranges::nth_element(milliseconds, milliseconds.begin() + 25);
    EXPECT_LT(milliseconds[25], 2) << "it sleeps for ten";
}

TEST_F(HostThreadTest, without_an_interface_punted_frames_are_counted) {
    start({{pool(), true, nullptr}, {pool(), true, nullptr}});
    for (unsigned n = 0; n < 100; ++n) punt(Bytes(60), n % 2, n % kWorkers);
    EXPECT_TRUE(comes_true([&] { return host_->stats(0).rx_no_interface == 50; }));
    EXPECT_TRUE(comes_true([&] { return host_->stats(1).rx_no_interface == 50; }));
}

TEST_F(HostThreadTest, posted_frames_go_to_the_worker_of_their_port_in_order) {
    start({{pool(), true, nullptr}, {pool(), true, nullptr}});
    constexpr unsigned kEach = 500;  // more than a ring holds
    std::vector<std::thread> posters;
    for (unsigned port = 0; port < 2; ++port)
        posters.emplace_back([&, port] {
            for (unsigned n = 0; n < kEach; ++n) {
                const auto low = static_cast<std::uint8_t>(n), high = static_cast<std::uint8_t>(n >> 8);
                const Bytes frame{2, high, low};
                const auto kind = port == 0 ? OutgoingKind::garp : OutgoingKind::neighbor_advertisement;
                EXPECT_TRUE(host_->post(port, frame, kind));
            }
        });
    for (std::thread& poster : posters) poster.join();
    for (unsigned port = 0; port < 2; ++port) {
        const auto got = take(kEach, port);
        ASSERT_EQ(got.size(), kEach) << port;
        for (unsigned n = 0; n < kEach; ++n) {
            EXPECT_EQ(got[n].port, port);
            EXPECT_EQ(got[n].kind, port == 0 ? OutgoingKind::garp : OutgoingKind::neighbor_advertisement);
            EXPECT_EQ(word_at(got[n].frame, 1), n);
        }
    }
}

TEST_F(HostThreadTest, too_many_posted_frames_are_refused_to_the_poster) {
    start({{pool(), true, nullptr}});
    const Bytes frame(60, 2);
    std::size_t taken = 0;
    while (taken < 2 * HostThread::kMaxPosted && host_->post(0, frame, OutgoingKind::garp)) ++taken;
    EXPECT_GE(taken, HostThread::kMaxPosted);
    EXPECT_LE(taken, HostThread::kMaxPosted + HostRings::kFrames);
}

TEST_F(HostThreadTest, an_empty_pool_costs_the_kernels_frames_and_is_counted) {
    start({{pool(), true, nullptr}});
    std::vector<rte_mbuf*> all;
    while (rte_mbuf* frame = rte_pktmbuf_alloc(pool())) all.push_back(frame);
    EXPECT_TRUE(host_->post(0, Bytes(60, 2), OutgoingKind::garp));
    EXPECT_TRUE(comes_true([&] { return host_->stats(0).tx_no_mbuf == 1; }));
    rte_pktmbuf_free_bulk(all.data(), static_cast<unsigned>(all.size()));
}

TEST_F(HostThreadTest, what_was_punted_is_written_before_it_ends) {
    needs_root();
    if (IsSkipped()) return;
    start_with_twins(1);
    const UdpSocket socket(ip("10.9.0.1"), 7'000);
    for (unsigned n = 0; n < 100; ++n) punt(udp_frame({ip("10.9.0.2"), ip("10.9.0.1"), 7, 7'000}, n));
    host_.reset();
    for (unsigned n = 0; n < 100; ++n) EXPECT_EQ(socket.receive(), payload(n));
}

TEST_F(HostThreadTest, a_full_ring_gives_the_rest_back) {
    auto rings = HostRings::make(9);
    ASSERT_TRUE(rings) << rings.error().message;
    std::vector<rte_mbuf*> frames(HostRings::kFrames + 10);
    ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool(), frames.data(), static_cast<unsigned>(frames.size())), 0);
    EXPECT_FALSE(rings->has_punted());
    EXPECT_EQ(rings->punt(frames), HostRings::kFrames);
    EXPECT_TRUE(rings->has_punted());
    for (std::uint32_t i = HostRings::kFrames; i < frames.size(); ++i) EXPECT_TRUE(rings->send(frames[i]));
    const auto refused = HostRings::make(9);
    ASSERT_FALSE(refused) << "the name is taken";
    EXPECT_TRUE(says(refused.error().message, {"weir_punt_9", "dataplane.memory"}));
}  // and what nobody took is freed: TearDown looks

}  // namespace
}  // namespace weir::test
