// Mode nat over stepped workers: both directions byte by byte, whose reply it is, and what there is no
// session or no port for.
#include <random>
#include <set>

#include "tests/dataplane/figure.h"
#include "tests/support/nat_world.h"

namespace weir::test {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kForged = 50'000;
constexpr std::uint32_t kChecksumStep = 16;
#else
constexpr std::uint64_t kForged = 1'000'000;
constexpr std::uint32_t kChecksumStep = 1;
#endif

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

// A packet that pretends to be a reply to `answer`: from elsewhere, of another protocol, to another port.
Bytes forged(const Tuple& answer, std::uint64_t number, std::mt19937_64& random) {
    Tuple other = answer;
    const std::uint8_t flags[] = {kAck, kSyn | kAck, kRst, kFin | kAck};
    switch (number % 4) {
        case 0:
            other.source = client_flow(static_cast<std::uint32_t>(random()), answer.source).source;
            break;
        case 1:
            other.source_port = static_cast<std::uint16_t>(answer.source_port + 1 + random() % 0xffff);
            break;
        case 2:
            return udp_frame(other);
        default:
            other.destination_port = static_cast<std::uint16_t>(32'768 + random() % 32'768);
    }
    return tcp_frame(other, flags[number / 4 % 4]);
}

TEST_F(NatTest, forged_packets_to_snat_ports_do_not_pass) {
    start(nat_config(), 2);
    std::vector<Tuple> answers;
    for (std::uint32_t number = 1; number <= 100; ++number) {
        const Bytes syn = tcp_frame(flow(number, number % 2 != 0), kSyn);
        answers.push_back(turned(tuple_of(*send(queue_of(syn), syn, Tick{100}))));
    }
    const auto is_answer = [&](const Tuple& tuple) {
        return tuple.source_port == kBackendPort && std::ranges::any_of(answers, [&](const Tuple& answer) {
                   return answer.source == tuple.source && answer.destination_port == tuple.destination_port;
               });
    };
    std::mt19937_64 random(1);
    std::uint64_t tried = 0, passed = 0;
    std::vector<rte_mbuf*> packets;
    for (std::uint64_t number = 0; tried < kForged; ++number) {
        const std::uint64_t kind = number / answers.size();
        const Bytes frame = forged(answers[number % answers.size()], kind, random);
        if (kind % 4 != 2 && is_answer(tuple_of(frame))) continue;
        packets.push_back(frames_.frame(frame));
        if (++tried % kBurstSize != 0 && tried != kForged) continue;
        world_->worker(tried / kBurstSize % 2).run(packets, Tick{101});
        world_->empty_rings(Tick{101});
        packets.clear();
        for (unsigned w = 0; w < 2; ++w) passed += world_->worker(w).take().size();
    }
    EXPECT_EQ(passed, 0u);
    EXPECT_EQ(drops(DropReason::unsolicited), tried);
    for (const Tuple& answer : answers) EXPECT_TRUE(send(0, tcp_frame(answer, kSyn | kAck), Tick{102}));
    print_figure(
        "%llu forged packets to SNAT ports in use and not, %llu of them travelled by ring: %llu passed, %llu "
        "counted as unsolicited",
        static_cast<unsigned long long>(tried),
        static_cast<unsigned long long>(sum(&WorkerCounters::replies_handed_over)),
        static_cast<unsigned long long>(passed),
        static_cast<unsigned long long>(drops(DropReason::unsolicited)));
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

TEST_F(NatTest, who_gets_no_port_is_reset_where_asked) {
    Config config = nat_config({40'000, 40'000});
    config.ports[0].snat.resets_when_exhausted = true;
    config.pools[0].backends.change().pop_back();
    start(config);
    const Link in{.to = {{2, 0, 0, 0, 0, 1}}, .from = {{2, 0, 0, 0, 0, 0xfe}}};
    ASSERT_TRUE(send(0, tcp_frame(flow(1), kSyn, 0, in), Tick{100}));
    ASSERT_TRUE(send(0, udp_frame(flow(1), 0, true, in), Tick{100}));
    const auto answer = send(0, tcp_frame(flow(2), kSyn, 0, in), Tick{101});
    ASSERT_TRUE(answer);
    Bytes expected = tcp_frame(turned(flow(2)), kRst | kAck, 0, {.to = in.from, .from = in.to, .ttl = 64});
    const std::size_t l4 = 34;
    std::copy_n(Bytes{0, 0, 0, 0, 0x11, 0x22, 0x33, 0x45}.begin(), 8, expected.begin() + l4 + 4);
    put_word(expected, l4 + 14, 0);  // window
    EXPECT_TRUE(std::equal(answer->begin() + l4, answer->begin() + l4 + 16, expected.begin() + l4))
        << "RFC 9293 3.10.7.1: ACK = SEG.SEQ + SEG.LEN, and a SYN is of length 1";
    EXPECT_TRUE(std::equal(answer->begin(), answer->begin() + 14, expected.begin()));
    EXPECT_EQ(tuple_of(*answer).source, ip("203.0.113.10"));
    EXPECT_FALSE(send(0, udp_frame(flow(2), 0, true, in), Tick{102})) << "a datagram has no RST";
    EXPECT_EQ(drops(DropReason::no_snat_port), 2u);
    EXPECT_EQ(world_->worker().counters().originated[kOriginatedRst].value(), 1u);
}

// Two ports, of which the client's carries less. RFC 1191, RFC 4443 3.2.
TEST_F(NatTest, a_backend_is_told_what_the_clients_port_carries) {
    std::vector<PortFacts> facts = edge_facts();
    facts[0].mtu = 1'400;
    world_ = std::make_unique<SmallWorld>(nat_config(), facts, 1, 16'384, true, 0, 4'096);
    const std::size_t too_long = facts[0].mtu + 1u;
    std::uint32_t number = 0, told = 0;
    for (const bool v6 : {false, true})
        for (const bool df : {false, true}) {
            const Tuple client = flow(++number, v6);
            const Tuple answer = turned(tuple_of(*send(0, tcp_frame(client, kSyn), Tick{100})));
            Bytes big = tcp_frame(answer, kAck, too_long);
            if (!v6 && df) {
                put_word(big, 20, 0x4000);
                put_word(big, 24, 0);
                put_word(big, 24, internet_checksum(std::span(big).subspan(14, 20)));
            }
            const auto error = send(0, big, Tick{101});
            ASSERT_EQ(error.has_value(), v6 || df) << "IPv4 without DF: its sender wants no answer";
            if (!error) continue;
            ++told;
            Bytes message{std::uint8_t(v6 ? 2 : 3), std::uint8_t(v6 ? 0 : 4), 0, 0, 0, 0};
            append_word(message, 1'400);
            append(message, std::span(big).subspan(14, v6 ? 1'280 - 48 : 576 - 28));
            Bytes expected =
                ip_frame({.to = {{2, 0, 0, 0, 0, 0xfe}}, .from = {{2, 0, 0, 0, 0, 1}}, .ttl = 64},
                         ip(v6 ? "fd00:1::2" : "10.1.0.2"), answer.source, v6 ? 58 : 1, message, 2);
            if (!v6) {
                put_word(expected, 18, 0);
                put_word(expected, 20, 0x4000);
                put_word(expected, 24, 0);
                put_word(expected, 24, internet_checksum(std::span(expected).subspan(14, 20)));
            }
            EXPECT_EQ(*error, expected);
        }
    EXPECT_EQ(drops(DropReason::reply_too_big), number);
    const Tuple client = flow(++number, true);
    const Tuple answer = turned(tuple_of(*send(0, tcp_frame(client, kSyn), Tick{200})));
    for (int n = 0; n < 1'000; ++n) (void)send(0, tcp_frame(answer, kAck, too_long), Tick{200});
    EXPECT_LE(world_->worker().counters().originated[kOriginatedIcmpError].value(), told + 100) << "limited";
    EXPECT_EQ(drops(DropReason::reply_too_big), number - 1 + 1'000u);
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
