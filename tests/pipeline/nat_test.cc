// Mode nat over stepped workers: both directions byte by byte, whose reply it is, and what there is no
// session or no port for.
#include <set>

#include "drivers/rss.h"
#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

constexpr std::uint16_t kBackendPort = 8080;

Config nat_config(L4PortRange range = {32'768, 65'535}) {
    Config config = edge_config();
    config.ports[0].snat.addresses = {ip("10.1.0.2"), ip("fd00:1::2")};
    config.ports[0].snat.ports = range;
    config.pools = {pool("web", {backend("a", "10.1.1.11"), backend("b", "10.1.1.12")}),
                    pool("web6", {backend("a", "fd00:1::11"), backend("b", "fd00:1::12")})};
    add_neighbor(config, "fd00:1::12", "02:00:00:00:06:12");
    for (PoolConfig& pool : config.pools) {
        pool.table_size = 251;
        for (BackendConfig& backend : pool.backends.change()) backend.port = kBackendPort;
    }
    config.services = {service("web", "203.0.113.10", "web", ForwardingMode::nat),
                       service("web6", "2001:db8:100::10", "web6", ForwardingMode::nat)};
    for (ServiceConfig& service : config.services) service.udp = true;
    return config;
}

// The addresses and ports of a frame.
Tuple tuple_of(const Bytes& frame) {
    const bool v4 = word_at(frame, 12) == 0x0800;
    const auto address = [&](std::size_t at) {
        if (v4) {
            Ipv4Address found;
            std::memcpy(&found, frame.data() + at, sizeof(found));
            return IpAddress(found);
        }
        Ipv6Address found;
        std::memcpy(&found, frame.data() + at, sizeof(found));
        return IpAddress(found);
    };
    const std::size_t l4 = v4 ? 34 : 54;
    return {address(v4 ? 26 : 22), address(v4 ? 30 : 38), word_at(frame, l4), word_at(frame, l4 + 2)};
}

Tuple turned(const Tuple& tuple) {
    return {tuple.destination, tuple.source, tuple.destination_port, tuple.source_port};
}

class NatTest : public DriversTest {
  protected:
    void start(const Config& config, unsigned workers = 1, std::uint64_t sessions = 4096) {
        world_ = std::make_unique<SmallWorld>(config, edge_facts(), workers, 16'384, true, 0, sessions);
    }
    void TearDown() override {
        world_.reset();
        EXPECT_EQ(frames_.in_use(), 0u);
    }
    static Tuple flow(std::uint32_t number, bool v6 = false) {
        return client_flow(number, ip(v6 ? "2001:db8:100::10" : "203.0.113.10"));
    }
    // What came of the frame in the end: one frame, or none.
    std::optional<Bytes> send(unsigned worker, const Bytes& frame, Tick now) {
        rte_mbuf* packet = frames_.frame(frame);
        world_->worker(worker).run({&packet, 1}, now);
        if (world_->rings() != nullptr) world_->empty_rings(now);
        std::optional<Bytes> sent;
        for (unsigned w = 0; w < world_->workers(); ++w)
            for (Bytes& out : world_->worker(w).take()) {
                EXPECT_FALSE(sent);
                sent = std::move(out);
            }
        return sent;
    }
    // The worker whose queue a NIC would choose.
    unsigned queue_of(const Bytes& frame) {
        rte_mbuf* packet = frames_.frame(frame);
        const RetaTable reta(static_cast<std::uint16_t>(world_->workers()));
        const std::uint16_t queue = rss_queue_of_frame(*packet, kRssKey, reta);
        rte_pktmbuf_free(packet);
        return queue;
    }
    std::uint64_t drops(DropReason reason) {
        std::uint64_t sum = 0;
        for (unsigned w = 0; w < world_->workers(); ++w) sum += dropped(world_->worker(w).counters(), reason);
        return sum;
    }
    std::uint64_t sum(Counter WorkerCounters::*counter) {
        std::uint64_t total = 0;
        for (unsigned w = 0; w < world_->workers(); ++w)
            total += (world_->worker(w).counters().*counter).value();
        return total;
    }

    FramePool frames_{"nat", 8191};
    std::unique_ptr<SmallWorld> world_;
};

// Every frame is compared with one that is built from nothing: so checksums are judged by full recomputation.
TEST_F(NatTest, both_directions_are_exact_to_the_byte) {
    start(nat_config());
    const Link in{.to = {{2, 0, 0, 0, 0, 1}}, .from = {{2, 0, 0, 0, 0, 0xfe}}};
    std::uint32_t number = 0;
    for (const bool v6 : {false, true})
        for (const bool udp : {false, true})
            for (const std::size_t length : {0u, 1u, 100u, 1'001u})
                for (const bool with_checksum : {true, false}) {
                    if (!with_checksum && (!udp || v6)) continue;
                    const Tuple client = flow(++number, v6);
                    const auto frame = [&](const Tuple& tuple, std::uint8_t flags, const Link& link) {
                        return udp ? udp_frame(tuple, length, with_checksum, link)
                                   : tcp_frame(tuple, flags, length, link);
                    };
                    const auto there = send(0, frame(client, kSyn, in), Tick{100});
                    ASSERT_TRUE(there);
                    const Tuple translated = tuple_of(*there);
                    EXPECT_EQ(translated.source, ip(v6 ? "fd00:1::2" : "10.1.0.2"));
                    EXPECT_EQ(translated.destination_port, kBackendPort);
                    EXPECT_GE(translated.source_port, 32'768);
                    Link out{.to = {}, .from = in.to};
                    std::copy_n(there->begin(), 6, out.to.bytes.begin());
                    EXPECT_EQ(*there, frame(translated, kSyn, out));
                    const Link from_backend{.to = in.to, .from = out.to};
                    const auto back =
                        send(0, frame(turned(translated), kSyn | kAck, from_backend), Tick{101});
                    ASSERT_TRUE(back);
                    EXPECT_EQ(*back, frame(turned(client), kSyn | kAck, {.to = in.from, .from = in.to}));
                    const auto again = send(0, frame(client, kAck, in), Tick{102});
                    ASSERT_TRUE(again);
                    EXPECT_EQ(*again, frame(translated, kAck, out)) << "the same port again";
                }
    EXPECT_EQ(world_->worker().counters().sessions.value(), number);
    world_->expect_consistent();
}

TEST_F(NatTest, replies_come_to_their_owner_by_rss_and_by_ring_from_anywhere_else) {
    constexpr std::uint32_t kFlows = 2'000;
    for (const unsigned workers : {1u, 2u, 4u, 8u, 16u}) {
        start(nat_config(), workers);
        std::uint64_t by_rss = 0, elsewhere = 0;
        for (std::uint32_t number = 1; number <= kFlows; ++number) {
            const Tuple client = flow(number, number % 2 != 0);
            const Bytes syn = number % 3 != 0 ? tcp_frame(client, kSyn) : udp_frame(client);
            const auto there = send(queue_of(syn), syn, Tick{100});
            ASSERT_TRUE(there);
            const Tuple answer = turned(tuple_of(*there));
            const Bytes reply = number % 3 != 0 ? tcp_frame(answer, kSyn | kAck) : udp_frame(answer);
            const std::uint64_t travelled = sum(&WorkerCounters::replies_handed_over);
            const auto back = send(queue_of(reply), reply, Tick{101});
            ASSERT_TRUE(back);
            by_rss += sum(&WorkerCounters::replies_handed_over) == travelled ? 1 : 0;
            // Without RSS any worker may get it.
            const auto same = send(number % workers, reply, Tick{102});
            ASSERT_TRUE(same);
            EXPECT_EQ(*same, *back);
            elsewhere += sum(&WorkerCounters::replies_handed_over) - travelled;
        }
        EXPECT_EQ(by_rss, kFlows) << workers;
        EXPECT_EQ(drops(DropReason::unsolicited), 0u);
        print_figure(
            "%u workers: %llu of %u replies came to their owner by RSS; of as many given to any worker %llu "
            "travelled by ring, and none was lost",
            workers, static_cast<unsigned long long>(by_rss), kFlows,
            static_cast<unsigned long long>(elsewhere));
        world_.reset();
    }
}

TEST_F(NatTest, only_a_syn_or_a_datagram_begins_a_session) {
    start(nat_config());
    for (const std::uint8_t flags : {kAck, kFin, kRst, std::uint8_t(kFin | kAck)})
        EXPECT_FALSE(send(0, tcp_frame(flow(1), flags), Tick{100}));
    EXPECT_EQ(drops(DropReason::no_session), 4u);
    EXPECT_EQ(world_->worker().pipeline().flows().entries(), 0u) << "nor an entry of the flow table";
    EXPECT_TRUE(send(0, tcp_frame(flow(1), kSyn), Tick{100}));
    EXPECT_TRUE(send(0, tcp_frame(flow(1), kAck), Tick{100}));
    EXPECT_TRUE(send(0, udp_frame(flow(1)), Tick{100}));
}

TEST_F(NatTest, forged_packets_to_snat_ports_do_not_pass) {
    start(nat_config(), 2);
    std::vector<Tuple> answers;
    for (std::uint32_t number = 1; number <= 100; ++number) {
        const Bytes syn = tcp_frame(flow(number), kSyn);
        answers.push_back(turned(tuple_of(*send(queue_of(syn), syn, Tick{100}))));
    }
    std::uint64_t tried = 0;
    const auto refuse = [&](const Bytes& frame) {
        ++tried;
        EXPECT_FALSE(send(tried % 2, frame, Tick{101}));
    };
    for (const Tuple& answer : answers)
        for (std::uint32_t n = 0; n < 250; ++n) {
            Tuple other = answer;
            other.source = ip("10.1.1.13");
            refuse(tcp_frame(other, kAck));
            other = answer;
            other.source_port = static_cast<std::uint16_t>(kBackendPort + 1 + n);
            refuse(tcp_frame(other, kAck));
            refuse(udp_frame(answer));
            other = answer;
            other.destination_port = static_cast<std::uint16_t>(other.destination_port ^ 1u << (n % 8));
            if (std::ranges::none_of(answers, [&](const Tuple& a) {
                    return a.source == other.source && a.destination_port == other.destination_port;
                }))
                refuse(tcp_frame(other, kAck));
        }
    EXPECT_EQ(drops(DropReason::unsolicited), tried);
    print_figure("%llu forged packets to SNAT ports in use and not: none passed",
                 static_cast<unsigned long long>(tried));
}

TEST_F(NatTest, ports_run_out_by_backend_and_come_back) {
    start(nat_config({40'000, 40'007}));
    std::map<IpAddress, std::set<std::uint16_t>> used;
    std::uint32_t number = 0;
    std::uint64_t refused = 0;
    for (; number < 200; ++number) {
        const auto there = send(0, tcp_frame(flow(number), kSyn), Tick{100 + number});
        if (!there) {
            ++refused;
            continue;
        }
        const Tuple translated = tuple_of(*there);
        EXPECT_TRUE(used[translated.destination].insert(translated.source_port).second) << "shared by two";
    }
    ASSERT_EQ(used.size(), 2u) << "that one has none left is nothing to the other";
    for (const auto& [backend, ports] : used) EXPECT_EQ(ports.size(), 8u);
    EXPECT_EQ(drops(DropReason::no_snat_port), refused);
    EXPECT_EQ(refused, 200u - 16u);
    const Tick later{100 + 250 * kTicksPerSecond};
    world_->worker().sweep(later, 1u << 20);
    world_->worker().sweep(later, 1u << 20);
    EXPECT_EQ(sum(&WorkerCounters::sessions), 0u);
    EXPECT_TRUE(send(0, tcp_frame(flow(500), kSyn), later));
}

TEST_F(NatTest, a_session_outlives_its_entry_and_keeps_its_backend) {
    Config config = nat_config();
    start(config);
    std::map<std::uint32_t, Tuple> known;
    for (std::uint32_t number = 1; number <= 50; ++number) {
        known[number] = tuple_of(*send(0, tcp_frame(flow(number), kSyn), Tick{100}));
        (void)send(0, tcp_frame(turned(known[number]), kSyn | kAck), Tick{100});
        (void)send(0, tcp_frame(flow(number), kAck), Tick{100});
    }
    config.pools[0].backends.change().push_back(backend("c", "10.1.1.13"));
    config.pools[0].backends.change().push_back(backend("d", "10.1.1.14"));
    world_->reload(config);
    const Tick later{100 + 3'600 * kTicksPerSecond};
    world_->worker().sweep_all(later);
    EXPECT_EQ(world_->worker().pipeline().flows().entries(), 0u);
    for (const auto& [number, tuple] : known) {
        const auto there = send(0, tcp_frame(flow(number), kAck), later);
        ASSERT_TRUE(there);
        EXPECT_EQ(tuple_of(*there).destination, tuple.destination);
        EXPECT_EQ(tuple_of(*there).source_port, tuple.source_port);
    }
}

TEST_F(NatTest, a_session_of_a_backend_that_is_gone_ends) {
    Config config = nat_config();
    start(config);
    std::uint32_t number = 0;
    Tuple translated;
    do {
        translated = tuple_of(*send(0, tcp_frame(flow(++number), kSyn), Tick{100}));
    } while (translated.destination != ip("10.1.1.12"));
    config.pools[0].backends.change().pop_back();
    const std::vector<BackendKey> now_gone = {{"web", "b"}};
    ASSERT_TRUE(world_->world().apply(config, now_gone));
    world_->latch_all();
    EXPECT_FALSE(send(0, tcp_frame(flow(number), kAck), Tick{101}));
    const auto again = send(0, tcp_frame(flow(number), kSyn), Tick{102});
    ASSERT_TRUE(again);
    EXPECT_EQ(tuple_of(*again).destination, ip("10.1.1.11"));
    EXPECT_FALSE(send(0, tcp_frame(turned(translated), kAck), Tick{103})) << "its reply belongs to nobody";
}

TEST_F(NatTest, a_syn_leaves_a_draining_backend_and_a_segment_stays) {
    Config config = nat_config();
    start(config);
    std::uint32_t number = 0;
    while (tuple_of(*send(0, tcp_frame(flow(++number), kSyn), Tick{100})).destination != ip("10.1.1.12")) {
    }
    config.pools[0].backends.change().pop_back();
    world_->reload(config);
    const auto goes_to = [&](std::uint8_t flags) {
        return tuple_of(*send(0, tcp_frame(flow(number), flags), Tick{101})).destination;
    };
    EXPECT_EQ(goes_to(kAck), ip("10.1.1.12"));
    EXPECT_EQ(goes_to(kSyn), ip("10.1.1.11"));
    EXPECT_EQ(goes_to(kAck), ip("10.1.1.11"));
    EXPECT_EQ(world_->worker().counters().sessions.value(), number);
}

TEST_F(NatTest, a_full_table_forgets_unanswered_sessions_only) {
    start(nat_config(), 1, 1'024);
    std::vector<Tuple> answered;
    for (std::uint32_t number = 1; number <= 100; ++number) {
        const Tuple translated = tuple_of(*send(0, tcp_frame(flow(number), kSyn), Tick{100}));
        answered.push_back(turned(translated));
        ASSERT_TRUE(send(0, tcp_frame(answered.back(), kSyn | kAck), Tick{100}));
    }
    for (std::uint32_t number = 1'000; number < 21'000; ++number)
        ASSERT_TRUE(send(0, tcp_frame(flow(number), kSyn), Tick{101}));
    EXPECT_GT(sum(&WorkerCounters::session_evictions), 19'000u);
    for (const Tuple& answer : answered) EXPECT_TRUE(send(0, tcp_frame(answer, kAck), Tick{102}));
}

}  // namespace
}  // namespace weir::test
