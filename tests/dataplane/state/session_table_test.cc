#include "dataplane/state/session_table.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <random>

#include "dataplane/tables/snat_ports.h"
#include "tests/dataplane/figure.h"
#include "tests/support/toeplitz_reference.h"

namespace weir {
namespace {

struct Memory {
    explicit Memory(std::uint64_t sessions)
        : size(SessionTable::bytes_for(sessions)),
          bytes(static_cast<std::byte*>(std::aligned_alloc(64, (size + 63) / 64 * 64)), &std::free) {
        std::fill_n(bytes.get(), size, std::byte{});
    }
    [[nodiscard]] std::span<std::byte> span() const { return {bytes.get(), size}; }
    std::size_t size;
    std::unique_ptr<std::byte, decltype(&std::free)> bytes;
};

SessionAddress v4(std::uint32_t number) { return session_address(Ipv4Address{Be32(number)}); }

Session session_of(std::uint32_t client, std::uint16_t client_port, std::uint16_t snat_port,
                   std::uint32_t backend = 0x0a01010b, Tick deadline = Tick{1'000}) {
    Session session{};
    session.client = v4(client);
    session.client_port = Be16(client_port);
    session.vip_port = Be16(80);
    session.service = ServiceId{3};
    session.backend = BackendId{7};
    session.backend_address = v4(backend);
    session.backend_port = Be16(8080);
    session.snat_port = Be16(snat_port);
    session.snat = SnatId{1};
    session.state = FlowState::tcp_opening;
    session.deadline = deadline;
    return session;
}

// As those of session_of(), at Tick{0}: nothing gives way soon.
constexpr SessionTimeouts kTimeouts{.transitory = 1'000};

struct Table : Memory {
    explicit Table(std::uint64_t sessions) : Memory(sessions), table(span(), HashKey::zero()) {}
    SessionTable::Outcome insert(const Session& session, Tick now = Tick{1}) {
        return table.insert(session, now, kTimeouts, [&](const Session& gone) { removed.push_back(gone); });
    }
    Session* client(const Session& s, Tick now = Tick{1}) {
        return table.find(s.client_tuple(), table.hash_of(s.client_tuple()), now);
    }
    Session* reply(const Session& s, Tick now = Tick{1}) {
        return table.find(s.reply_tuple(), table.hash_of(s.reply_tuple()), now);
    }
    const Session* holder(const Session& s) const {
        return table.holder(s.reply_tuple(), table.hash_of(s.reply_tuple()));
    }
    SessionTable table;
    std::vector<Session> removed;
};

TEST(SessionTable, FindsASessionByBothTuplesAndByNoOther) {
    Table t(100);
    EXPECT_EQ(t.table.capacity(), 100u);
    const Session session = session_of(0xc6336407, 4242, 40'000);
    ASSERT_EQ(t.insert(session), SessionTable::Outcome::inserted);
    ASSERT_NE(t.client(session), nullptr);
    EXPECT_EQ(t.client(session), t.reply(session));
    for (const auto change :
         {+[](Session& s) { s.client = v4(1); }, +[](Session& s) { s.client_port = Be16(1); },
          +[](Session& s) { s.vip_port = Be16(1); }, +[](Session& s) { s.service = ServiceId{4}; },
          +[](Session& s) { s.flags ^= Session::kUdp; }, +[](Session& s) { s.flags ^= Session::kV6; }}) {
        Session other = session;
        change(other);
        EXPECT_EQ(t.client(other), nullptr);
    }
    for (const auto change :
         {+[](Session& s) { s.backend_address = v4(1); }, +[](Session& s) { s.backend_port = Be16(1); },
          +[](Session& s) { s.snat_port = Be16(1); }, +[](Session& s) { s.snat = SnatId{2}; },
          +[](Session& s) { s.flags ^= Session::kUdp; }, +[](Session& s) { s.flags ^= Session::kV6; }}) {
        Session other = session;
        change(other);
        EXPECT_EQ(t.reply(other), nullptr);
        EXPECT_EQ(t.holder(other), nullptr);
    }
    t.table.erase(*t.client(session));
    EXPECT_EQ(t.client(session), nullptr);
    EXPECT_EQ(t.reply(session), nullptr);
    EXPECT_EQ(t.table.entries(), 0u);
}

TEST(SessionTable, ATableWithoutRoomKnowsNobody) {
    SessionTable table({}, HashKey::zero());
    const Session session = session_of(1, 1, 1);
    EXPECT_EQ(table.find(session.client_tuple(), table.hash_of(session.client_tuple()), Tick{1}), nullptr);
    EXPECT_EQ(table.insert(session, Tick{1}, kTimeouts, [](const Session&) {}), SessionTable::Outcome::full);
}

TEST(SessionTable, ExpiredIsAMissButItsPortIsNotFreeBeforeTheSweep) {
    Table t(10);
    const Session session = session_of(1, 1, 40'000);
    (void)t.insert(session);
    EXPECT_NE(t.client(session, Tick{999}), nullptr);
    EXPECT_EQ(t.client(session, Tick{1'000}), nullptr);
    EXPECT_NE(t.holder(session), nullptr);
    EXPECT_TRUE(t.table.sweep(
        10, Tick{1'000}, [](const Session&) { return false; },
        [&](const Session& gone) { t.removed.push_back(gone); }));
    ASSERT_EQ(t.removed.size(), 1u);
    EXPECT_EQ(t.holder(session), nullptr);
}

TEST(SessionTable, FullItForgetsTheUnansweredOnly) {
    Table t(64);
    for (std::uint16_t i = 0; i < 64; ++i) {
        Session session = session_of(i, i, static_cast<std::uint16_t>(40'000 + i));
        if (i % 2 != 0) session.flags |= Session::kAnswered;
        ASSERT_EQ(t.insert(session), SessionTable::Outcome::inserted);
    }
    for (std::uint16_t i = 0; i < 8; ++i) {
        Session session = session_of(1'000u + i, i, static_cast<std::uint16_t>(50'000 + i));
        session.flags |= Session::kAnswered;
        EXPECT_EQ(t.insert(session), SessionTable::Outcome::evicted) << i;
        EXPECT_TRUE(t.removed.back().is_unanswered());
    }
    // Until there are none left.
    unsigned evicted = 8;
    for (std::uint16_t i = 0; i < 1'000; ++i) {
        Session session = session_of(5'000u + i, 1, static_cast<std::uint16_t>(51'000 + i));
        session.flags |= Session::kAnswered;
        const auto outcome = t.insert(session);
        ASSERT_NE(outcome, SessionTable::Outcome::inserted);
        if (outcome == SessionTable::Outcome::evicted) {
            ++evicted;
            EXPECT_TRUE(t.removed.back().is_unanswered());
        }
    }
    EXPECT_EQ(evicted, 32u);
    EXPECT_EQ(t.table.entries(), 64u);
}

// Against std::map, with so few sessions that chains of cells wrap, meet and are cut in every way.
TEST(SessionTable, AgreesWithAModelOverRandomInsertsAndErases) {
    Table t(48);
    std::map<std::pair<std::uint32_t, std::uint16_t>, std::uint16_t> model;  // client -> SNAT port
    std::mt19937 random(1);
    for (int step = 0; step < 200'000; ++step) {
        const auto client = static_cast<std::uint32_t>(random() % 40);
        const auto port = static_cast<std::uint16_t>(random() % 3);
        const auto snat = static_cast<std::uint16_t>(1'000 + client * 3 + port);
        const Session session = session_of(client, port, snat);
        const auto known = model.find({client, port});
        Session* found = t.client(session);
        ASSERT_EQ(found != nullptr, known != model.end()) << step;
        ASSERT_EQ(found, t.reply(session));
        if (found != nullptr) {
            ASSERT_EQ(found->snat_port.value(), known->second);
            t.table.erase(*found);
            model.erase(known);
        } else if (model.size() < 48) {
            ASSERT_EQ(t.insert(session), SessionTable::Outcome::inserted);
            model[{client, port}] = snat;
        }
        ASSERT_EQ(t.table.entries(), model.size());
    }
}

TEST(SessionTable, AMillionSessionsShareNoTupleAndEveryReplyFindsItsClient) {
    constexpr std::uint32_t kSessions = 1'000'000, kBackends = 10;
    Table t(kSessions);
    const std::vector<std::uint16_t> reta(128, 0);
    const SnatPorts ports({1'024, 65'535}, toeplitz_reference::port_bits(80), reta);
    const std::uint64_t per_backend = kSessions / (2 * kBackends);
    for (std::uint32_t i = 0; i < kSessions; ++i) {
        Session session = session_of(i, static_cast<std::uint16_t>(i), 0, 0x0a010100 + i % kBackends);
        session.snat = SnatId{static_cast<std::uint8_t>(i / kBackends % 2)};
        std::uint32_t tries = 0;
        const std::uint16_t port =
            ports.choose(0, i % kBackends, i * 0x9e37'79b9ull, 65'536, [&](std::uint16_t p) {
                session.snat_port = Be16(p);
                ++tries;
                return t.holder(session) == nullptr;
            });
        ASSERT_NE(port, 0);
        ASSERT_EQ(t.insert(session), SessionTable::Outcome::inserted) << i;
    }
    ASSERT_EQ(t.table.entries(), kSessions);
    ASSERT_TRUE(t.removed.empty());
    // A reply's tuple finds one session only, so what finds its own client shares with nobody.
    for (std::uint32_t i = 0; i < kSessions; ++i) {
        Session wanted = session_of(i, static_cast<std::uint16_t>(i), 0);
        Session* mine = t.client(wanted);
        ASSERT_NE(mine, nullptr);
        Session* replied = t.reply(*mine);
        ASSERT_EQ(replied, mine);
        ASSERT_EQ(replied->client, wanted.client);
        ASSERT_EQ(replied->client_port, wanted.client_port);
    }
    print_figure(
        "%u sessions over %u backends and 2 SNAT addresses (%lu of 64,512 ports each): %.1f bytes a session",
        kSessions, kBackends, static_cast<unsigned long>(per_backend),
        static_cast<double>(t.size) / kSessions);
}

TEST(SessionLife, BothSidesFin) {
    const SessionTimeouts timeouts;
    Session s = session_of(1, 1, 1);
    note_client(s, FlowEvent::segment, Tick{0}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_opening) << "nobody has answered";
    note_reply(s, FlowEvent::syn, Tick{0}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_opening);
    EXPECT_EQ(s.deadline, Tick{timeouts.transitory});
    note_client(s, FlowEvent::segment, Tick{5}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_established);
    EXPECT_EQ(s.deadline, Tick{5 + timeouts.established});
    note_client(s, FlowEvent::fin, Tick{6}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_established) << "half closed";
    note_reply(s, FlowEvent::fin, Tick{7}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_closing);
    note_client(s, FlowEvent::segment, Tick{8}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_closing);
    EXPECT_EQ(s.deadline, Tick{8 + timeouts.transitory});
    note_client(s, FlowEvent::syn, Tick{9}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_opening);
    EXPECT_TRUE(s.is_unanswered());
}

TEST(SessionLife, AResetIsTakenBackByTheNextSegment) {
    const SessionTimeouts timeouts;
    Session s = session_of(1, 1, 1);
    note_reply(s, FlowEvent::syn, Tick{0}, timeouts);
    note_client(s, FlowEvent::segment, Tick{0}, timeouts);
    note_client(s, FlowEvent::rst, Tick{0}, timeouts);
    EXPECT_EQ(s.deadline, Tick{timeouts.transitory});
    note_reply(s, FlowEvent::segment, Tick{1}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_established);
    EXPECT_EQ(s.deadline, Tick{1 + timeouts.established});
    note_client(s, FlowEvent::syn, Tick{2}, timeouts);
    EXPECT_EQ(s.state, FlowState::tcp_established) << "it may be forged";
}

}  // namespace
}  // namespace weir
