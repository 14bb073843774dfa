// Mode nat at its limits: forged packets, no port left, too long a reply, a full table.
#include <random>
#include <set>

#include "tests/dataplane/figure.h"
#include "tests/support/nat_world.h"
#include "tests/support/sanitized.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kForged = kSanitized ? 50'000 : 1'000'000;

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
    EXPECT_EQ(world_->worker().counters().snat_ports[0].value(), 16u) << "10.1.0.2";
    EXPECT_EQ(world_->worker().counters().snat_ports[1].value(), 0u) << "fd00:1::2";
    EXPECT_EQ(refused, 200u - 16u);
    const Tick later{100 + 250 * kTicksPerSecond};
    world_->worker().sweep(later, 1u << 20);
    world_->worker().sweep(later, 1u << 20);
    EXPECT_EQ(sum(&WorkerCounters::sessions), 0u);
    EXPECT_EQ(world_->worker().counters().snat_ports[0].value(), 0u);
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

// A range of eight ports towards one backend.
class NatPortsTest : public NatTest {
  protected:
    static constexpr Tick kStart{1'000};
    void SetUp() override {
        NatTest::SetUp();
        Config config = nat_config({40'000, 40'007});
        config.pools[0].backends.change().pop_back();
        start(config);
    }
    static constexpr Tick after(double seconds) {
        return kStart + static_cast<TickCount>(seconds * kTicksPerSecond);
    }
    // The reply's tuple of a new flow; its port is 0 if it has got none.
    Tuple open(std::uint32_t number, Tick now) {
        const auto there = send(0, tcp_frame(flow(number), kSyn), now);
        return there ? turned(tuple_of(*there)) : Tuple{.destination_port = 0};
    }
    Tuple establish(std::uint32_t number, Tick now) {
        const Tuple answer = open(number, now);
        EXPECT_TRUE(send(0, tcp_frame(answer, kSyn | kAck), now));
        EXPECT_TRUE(send(0, tcp_frame(flow(number), kAck), now));
        return answer;
    }
    void close(std::uint32_t number, const Tuple& answer, Tick now) {
        EXPECT_TRUE(send(0, tcp_frame(flow(number), kFin | kAck), now));
        EXPECT_TRUE(send(0, tcp_frame(answer, kFin | kAck), now));
        EXPECT_TRUE(send(0, tcp_frame(flow(number), kAck), now));
    }
    std::uint64_t taken_over() { return sum(&WorkerCounters::snat_ports_taken_over); }
};

TEST_F(NatPortsTest, of_a_session_that_is_over_for_long_goes_to_a_new_one) {
    std::vector<Tuple> answers;
    for (std::uint32_t number = 0; number < 8; ++number) answers.push_back(establish(number, kStart));
    for (std::uint32_t number = 0; number < 4; ++number) close(number, answers[number], kStart);
    EXPECT_EQ(open(100, after(59)).destination_port, 0) << "its backend may be in TIME_WAIT";
    std::set<std::uint16_t> expected, given;
    for (std::uint32_t number = 0; number < 4; ++number) {
        expected.insert(answers[number].destination_port);
        given.insert(establish(200 + number, after(61)).destination_port);
    }
    EXPECT_EQ(given, expected);
    EXPECT_EQ(taken_over(), 4u);
    EXPECT_EQ(open(300, after(62)).destination_port, 0);
    EXPECT_EQ(open(301, after(7'000)).destination_port, 0) << "an established one never gives way";
    EXPECT_EQ(drops(DropReason::no_snat_port), 3u);
    for (std::uint32_t number = 4; number < 8; ++number) {
        EXPECT_EQ(tuple_of(*send(0, tcp_frame(answers[number], kAck), after(7'001))), turned(flow(number)));
        EXPECT_TRUE(send(0, tcp_frame(flow(number), kAck), after(7'001)));
    }
    for (const std::uint32_t number : {0u, 1u, 2u, 3u})
        EXPECT_FALSE(send(0, tcp_frame(flow(number), kAck), after(62))) << "its session is gone";
    EXPECT_EQ(drops(DropReason::no_session), 4u);
    EXPECT_EQ(sum(&WorkerCounters::sessions), 8u);
    EXPECT_EQ(world_->worker().counters().snat_ports[0].value(), 8u);
}

TEST_F(NatPortsTest, are_taken_from_nobody_while_others_are_free) {
    for (std::uint32_t number = 0; number < 4; ++number) close(number, establish(number, kStart), kStart);
    std::set<std::uint16_t> given;
    for (std::uint32_t number = 100; number < 104; ++number)
        given.insert(open(number, after(100)).destination_port);
    EXPECT_EQ(given.size(), 4u);
    EXPECT_EQ(given.count(0), 0u);
    EXPECT_EQ(taken_over(), 0u);
    EXPECT_NE(open(104, after(100)).destination_port, 0);
    EXPECT_EQ(taken_over(), 1u);
}

TEST_F(NatPortsTest, are_not_owned_by_a_flood_of_spoofed_syns) {
    const Tuple established = establish(0, kStart);
    const Tuple reset = establish(1, kStart);
    EXPECT_TRUE(send(0, tcp_frame(flow(1), kRst), kStart));
    for (std::uint32_t number = 100; number < 106; ++number)
        EXPECT_TRUE(send(0, tcp_frame(open(number, kStart), kSyn | kAck), kStart));
    EXPECT_EQ(open(200, after(5.9)).destination_port, 0);
    for (std::uint32_t number = 201; number < 207; ++number)
        EXPECT_NE(establish(number, after(6.1)).destination_port, 0);
    EXPECT_EQ(taken_over(), 6u);
    EXPECT_EQ(open(300, after(200)).destination_port, 0);
    EXPECT_TRUE(send(0, tcp_frame(established, kAck), after(201)));
    EXPECT_TRUE(send(0, tcp_frame(reset, kAck), after(201))) << "the RST may have been forged";
}

TEST_F(NatPortsTest, of_datagrams_go_only_where_nobody_has_answered) {
    std::vector<Tuple> answers;
    for (std::uint32_t number = 0; number < 8; ++number)
        answers.push_back(turned(tuple_of(*send(0, udp_frame(flow(number)), kStart))));
    for (std::uint32_t number = 0; number < 7; ++number)
        EXPECT_TRUE(send(0, udp_frame(answers[number]), kStart));
    EXPECT_FALSE(send(0, udp_frame(flow(100)), after(5.9)));
    const auto there = send(0, udp_frame(flow(101)), after(6.1));
    ASSERT_TRUE(there);
    EXPECT_EQ(tuple_of(*there).source_port, answers[7].destination_port);
    EXPECT_TRUE(send(0, udp_frame(turned(tuple_of(*there))), after(7)));
    EXPECT_FALSE(send(0, udp_frame(flow(102)), after(299)));
    for (std::uint32_t number = 0; number < 7; ++number)
        EXPECT_TRUE(send(0, udp_frame(answers[number]), after(299)));
}

TEST_F(NatTest, a_full_table_forgets_what_is_over) {
    constexpr std::uint32_t kSessions = 1'024;
    start(nat_config(), 1, kSessions);
    for (std::uint32_t number = 0; number < kSessions; ++number) {
        const Tuple answer = turned(tuple_of(*send(0, tcp_frame(flow(number), kSyn), Tick{100})));
        ASSERT_TRUE(send(0, tcp_frame(answer, number % 2 != 0 ? kFin | kAck : kSyn | kAck), Tick{100}));
        ASSERT_TRUE(send(0, tcp_frame(flow(number), number % 2 != 0 ? kFin | kAck : kAck), Tick{100}));
    }
    EXPECT_FALSE(send(0, tcp_frame(flow(100'000), kSyn), Tick{100 + 59 * kTicksPerSecond}));
    EXPECT_EQ(drops(DropReason::session_full), 1u);
    for (std::uint32_t number = 100'001; number < 100'101; ++number)
        EXPECT_TRUE(send(0, tcp_frame(flow(number), kSyn), Tick{100 + 61 * kTicksPerSecond}));
    EXPECT_EQ(sum(&WorkerCounters::session_evictions), 100u);
    for (std::uint32_t number = 0; number < kSessions; number += 2)
        EXPECT_TRUE(send(0, tcp_frame(flow(number), kAck), Tick{100 + 62 * kTicksPerSecond}));
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
    EXPECT_EQ(world_->worker().counters().snat_ports[0].value(), sum(&WorkerCounters::sessions));
    for (const Tuple& answer : answered) EXPECT_TRUE(send(0, tcp_frame(answer, kAck), Tick{102}));
}

}  // namespace
}  // namespace weir::test
