// Mode nat over stepped workers: both directions byte by byte, whose reply it is, and what there is no
// session or no port for.

#include "tests/dataplane/figure.h"
#include "tests/support/nat_world.h"
#include "tests/support/sanitized.h"

namespace weir::test {
namespace {

constexpr std::uint32_t kChecksumStep = kSanitized ? 16 : 1;

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
                        return l4_frame(udp, tuple, flags, length, with_checksum, link);
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

// The L4 checksum that the frame ought to have, of all its bytes.
std::uint16_t recomputed(const Bytes& frame, bool udp) {
    const bool v4 = word_at(frame, 12) == 0x0800;
    const std::size_t l4 = v4 ? 34 : 54, addresses = v4 ? 26 : 22;
    Bytes covered(frame.begin() + static_cast<std::ptrdiff_t>(addresses), frame.end());
    put_word(covered, l4 - addresses + (udp ? 6 : 16), 0);
    append_word(covered, udp ? 17 : 6);
    append_word(covered, frame.size() - l4);
    const std::uint16_t sum = internet_checksum(covered);
    return udp && sum == 0 ? 0xffff : sum;
}

// Every checksum that a packet can come with, one by one, by a word of its payload. How many.
std::uint32_t send_every_checksum(SteppedWorker& worker, const FramePool& frames, const Tuple& tuple,
                                  bool udp) {
    Bytes frame = udp ? udp_frame(tuple, 2) : tcp_frame(tuple, kAck, 2);
    const std::size_t at = (tuple.source.is_v4() ? 34u : 54u) + (udp ? 6 : 16);
    put_word(frame, frame.size() - 2, 0);
    const std::uint32_t rest = 0xffffu - recomputed(frame, udp);
    std::uint32_t sent = 0;
    for (std::uint32_t wanted = udp ? 1 : 0; wanted <= 0xffff;) {
        std::vector<rte_mbuf*> packets;
        for (; packets.size() < kBurstSize && wanted <= 0xffff; wanted += kChecksumStep) {
            put_word(frame, frame.size() - 2,
                     static_cast<std::uint16_t>((2 * 0xffffu - wanted - rest) % 0xffff));
            put_word(frame, at, static_cast<std::uint16_t>(wanted));
            packets.push_back(frames.frame(frame));
        }
        worker.run(packets, Tick{101});
        const std::vector<Bytes> out = worker.take();
        EXPECT_EQ(out.size(), packets.size());
        for (const Bytes& one : out) EXPECT_EQ(word_at(one, at), recomputed(one, udp));
        sent += static_cast<std::uint32_t>(out.size());
    }
    return sent;
}

// Of UDP without 0, which says that there is none.
TEST_F(NatTest, a_packet_with_any_checksum_leaves_with_that_of_recomputation) {
    start(nat_config());
    std::uint32_t number = 0, sent = 0;
    for (const bool v6 : {false, true})
        for (const bool udp : {false, true}) {
            const Tuple client = flow(++number, v6);
            const auto there = send(0, udp ? udp_frame(client) : tcp_frame(client, kSyn), Tick{100});
            ASSERT_TRUE(there);
            for (const Tuple& tuple : {client, turned(tuple_of(*there))})
                sent += send_every_checksum(world_->worker(), frames_, tuple, udp);
        }
    EXPECT_GE(sent, 8 * 0xffffu / kChecksumStep);
    print_figure("%u packets with every checksum through both directions: each left with the right one",
                 sent);
}

// A backend that dials the VIP and is chosen itself: it gets its own packets, from weir's address.
TEST_F(NatTest, a_backend_is_its_own_client) {
    start(nat_config(), 2);
    for (const bool v6 : {false, true})
        for (const bool udp : {false, true}) {
            const IpAddress self = ip(v6 ? "fd00:1::11" : "10.1.1.11");
            const auto frame = [udp](const Tuple& tuple, std::uint8_t flags, const Link& link) {
                return udp ? udp_frame(tuple, 33, true, link) : tcp_frame(tuple, flags, 33, link);
            };
            unsigned own = 0;
            // The port that it serves is as good as any other to dial from.
            for (const std::uint16_t from :
                 {kBackendPort, std::uint16_t{40'000}, std::uint16_t{40'001}, std::uint16_t{40'002},
                  std::uint16_t{40'003}, std::uint16_t{80}}) {
                Tuple client = flow(1, v6);
                client.source = self;
                client.source_port = from;
                const Link link{.from = mac(v6 ? "02:00:00:00:06:11" : "02:00:00:00:00:11")};
                const Link out{.to = link.from, .from = link.to};
                const Bytes syn = frame(client, kSyn, link);
                const auto there = send(queue_of(syn), syn, Tick{100});
                ASSERT_TRUE(there);
                const Tuple translated = tuple_of(*there);
                if (translated.destination != self) continue;
                ++own;
                EXPECT_EQ(*there, frame(translated, kSyn, out));
                for (const unsigned worker : {0u, 1u}) {  // its owner, and the other one
                    const auto back = send(worker, frame(turned(translated), kSyn | kAck, link), Tick{101});
                    ASSERT_TRUE(back);
                    EXPECT_EQ(*back, frame(turned(client), kSyn | kAck, out));
                }
                const auto again = send(queue_of(syn), frame(client, kAck, link), Tick{102});
                ASSERT_TRUE(again);
                EXPECT_EQ(*again, frame(translated, kAck, out));
            }
            EXPECT_GE(own, 1u) << "all went to the other one";
        }
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

}  // namespace
}  // namespace weir::test
