// Mode dnat over stepped workers: the client's address stays, and whoever receives a packet, the worker that
// has its session translates it.
#include "tests/dataplane/figure.h"
#include "tests/support/nat_world.h"

namespace weir::test {
namespace {

const Link kIn{.to = {{2, 0, 0, 0, 0, 1}}, .from = {{2, 0, 0, 0, 0, 0xfe}}};

Config dnat_config() {
    Config config = nat_config();
    config.ports[0].snat = {};
    for (ServiceConfig& service : config.services) service.forwarding = ForwardingMode::dnat;
    return config;
}

class DnatTest : public NatTest {};

TEST_F(DnatTest, both_directions_are_exact_to_the_byte) {
    start(dnat_config());
    std::uint32_t number = 0;
    for (const bool v6 : {false, true})
        for (const bool udp : {false, true})
            for (const std::size_t length : {0u, 1u, 1'001u})
                for (const bool with_checksum : {true, false}) {
                    if (!with_checksum && (!udp || v6)) continue;
                    const Tuple client = flow(++number, v6);
                    const auto frame = [&](const Tuple& tuple, std::uint8_t flags, const Link& link) {
                        return l4_frame(udp, tuple, flags, length, with_checksum, link);
                    };
                    const auto there = send(0, frame(client, kSyn, kIn), Tick{100});
                    ASSERT_TRUE(there);
                    const Tuple translated = tuple_of(*there);
                    EXPECT_EQ(translated.source, client.source);
                    EXPECT_EQ(translated.source_port, client.source_port);
                    EXPECT_EQ(translated.destination_port, kBackendPort);
                    Link out{.to = {}, .from = kIn.to};
                    std::copy_n(there->begin(), 6, out.to.bytes.begin());
                    EXPECT_EQ(*there, frame(translated, kSyn, out));
                    const auto back = send(
                        0, frame(turned(translated), kSyn | kAck, {.to = kIn.to, .from = out.to}), Tick{101});
                    ASSERT_TRUE(back);
                    EXPECT_EQ(*back, frame(turned(client), kSyn | kAck, {.to = kIn.from, .from = kIn.to}));
                }
    EXPECT_EQ(world_->worker().counters().sessions.value(), number);
    world_->expect_consistent();
}

TEST_F(DnatTest, the_worker_that_gets_the_replies_has_the_session) {
    constexpr std::uint32_t kFlows = 2'000;
    for (const unsigned workers : {1u, 2u, 4u, 8u, 16u}) {
        start(dnat_config(), workers);
        for (std::uint32_t number = 1; number <= kFlows; ++number) {
            const Tuple client = flow(number, number % 2 != 0);
            const bool tcp = number % 3 != 0;
            const auto request = [&](std::uint8_t flags) {
                return tcp ? tcp_frame(client, flags) : udp_frame(client);
            };
            const Bytes syn = request(kSyn);
            const auto there = send(queue_of(syn), syn, Tick{100});
            ASSERT_TRUE(there);
            const Tuple answer = turned(tuple_of(*there));
            const Bytes reply = tcp ? tcp_frame(answer, kSyn | kAck) : udp_frame(answer);
            const std::uint64_t travelled = sum(&WorkerCounters::replies_handed_over);
            const auto back = send(queue_of(reply), reply, Tick{101});
            ASSERT_TRUE(back);
            EXPECT_EQ(sum(&WorkerCounters::replies_handed_over), travelled) << "RSS brings it to its owner";
            EXPECT_EQ(tuple_of(*back).destination, client.source);
            EXPECT_EQ(send(number % workers, reply, Tick{102}), back) << "and the ring from anywhere else";
            const auto again = send(number % workers, request(kAck), Tick{103});
            ASSERT_TRUE(again) << "the client's next packet, which another queue may bring";
            EXPECT_EQ(tuple_of(*again).destination, tuple_of(*there).destination);
        }
        EXPECT_EQ(drops(DropReason::no_session) + drops(DropReason::not_vip), 0u);
        EXPECT_EQ(sum(&WorkerCounters::sessions), kFlows);
        print_figure("%u workers: of %u clients' packets %llu travelled by ring, of %u replies by RSS none",
                     workers, 2 * kFlows,
                     static_cast<unsigned long long>(sum(&WorkerCounters::requests_handed_over)), kFlows);
        world_.reset();
    }
}

TEST_F(DnatTest, what_no_session_waits_for_is_dropped) {
    start(dnat_config(), 2);
    for (const std::uint8_t flags : {kAck, kFin, kRst})
        for (const unsigned worker : {0u, 1u})
            EXPECT_FALSE(send(worker, tcp_frame(flow(1), flags), Tick{100}));
    EXPECT_EQ(drops(DropReason::no_session), 6u);
    Tuple foreign = turned(tuple_of(*send(0, tcp_frame(flow(1), kSyn), Tick{100})));
    EXPECT_TRUE(send(1, tcp_frame(foreign, kSyn | kAck), Tick{100}));
    foreign.destination_port ^= 1;
    EXPECT_FALSE(send(0, tcp_frame(foreign, kAck), Tick{101}));
    EXPECT_FALSE(send(1, udp_frame(turned(tuple_of(*send(0, tcp_frame(flow(2), kSyn), Tick{100})))), Tick{1}))
        << "of another protocol";
    EXPECT_EQ(drops(DropReason::not_vip), 2u) << "weir routes nothing";
}

// One client port, two VIPs, one backend and port: the replies of both would look the same.
TEST_F(DnatTest, a_tuple_that_another_service_has_taken_is_refused) {
    Config config = dnat_config();
    config.pools[0].backends.change().pop_back();
    config.services.push_back(service("web2", "203.0.113.11", "web", ForwardingMode::dnat));
    start(config);
    Tuple second = flow(1);
    second.destination = ip("203.0.113.11");
    EXPECT_TRUE(send(0, tcp_frame(flow(1), kSyn), Tick{100}));
    EXPECT_FALSE(send(0, tcp_frame(second, kSyn), Tick{100}));
    EXPECT_EQ(drops(DropReason::no_snat_port), 1u);
    second.source_port ^= 1;
    EXPECT_TRUE(send(0, tcp_frame(second, kSyn), Tick{100}));
}

TEST_F(DnatTest, a_flow_stays_when_its_pool_grows_and_leaves_a_backend_that_is_gone) {
    Config config = dnat_config();
    start(config, 2);
    std::map<std::uint32_t, IpAddress> known;
    for (std::uint32_t number = 1; number <= 50; ++number)
        known[number] = tuple_of(*send(number % 2, tcp_frame(flow(number), kSyn), Tick{100})).destination;
    config.pools[0].backends.change().push_back(backend("c", "10.1.1.13"));
    config.pools[0].backends.change().back().port = kBackendPort;
    world_->reload(config);
    for (const auto& [number, destination] : known) {
        const auto there = send(number % 2, tcp_frame(flow(number), kAck), Tick{101});
        ASSERT_TRUE(there);
        EXPECT_EQ(tuple_of(*there).destination, destination);
    }
    config.pools[0].backends.change().erase(config.pools[0].backends.change().begin());
    const std::vector<BackendKey> now_gone = {{"web", "a"}};
    ASSERT_TRUE(world_->world().apply(config, now_gone));
    world_->latch_all();
    for (const auto& [number, destination] : known) {
        const auto there = send(number % 2, tcp_frame(flow(number), kAck), Tick{102});
        EXPECT_EQ(there.has_value(), destination != ip("10.1.1.11"));
    }
}

}  // namespace
}  // namespace weir::test
