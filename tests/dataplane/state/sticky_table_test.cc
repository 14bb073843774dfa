// The table of clients by itself, and what makes a client: masks, hash, owner.
#include "dataplane/state/sticky_table.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "dataplane/net/address_text.h"
#include "dataplane/tables/sticky_rule.h"
#include "tests/dataplane/state/flow_table_memory.h"

namespace weir {
namespace {

constexpr TickCount kDuration = 600 * kTicksPerSecond;
constexpr PoolId kPool{7};

class StickyTableTest : public testing::Test {
  protected:
    StickyTable::Decision decide(std::uint64_t hash, Tick now, BackendId choice, bool may_serve = true,
                                 PoolId pool = kPool) {
        return table_.decide(
            {hash, pool}, now, kDuration, [may_serve](BackendId) { return may_serve; },
            [choice] { return choice; });
    }
    FlowTableMemory memory_{1000};
    StickyTable table_{memory_.bytes()};
};

using Outcome = StickyTable::Outcome;

TEST_F(StickyTableTest, keeps_the_first_choice_until_it_may_not_serve) {
    EXPECT_EQ(decide(1, Tick{0}, BackendId{4}).outcome, Outcome::inserted);
    EXPECT_EQ(decide(1, Tick{1}, BackendId{5}).backend, BackendId{4});
    const auto [moved, outcome] = decide(1, Tick{2}, BackendId{5}, false);
    EXPECT_EQ(moved, BackendId{5});
    EXPECT_EQ(outcome, Outcome::rebound);
    EXPECT_EQ(decide(1, Tick{3}, BackendId{6}).backend, BackendId{5});
    EXPECT_EQ(table_.find({1, kPool}, Tick{4}), BackendId{5});
    EXPECT_EQ(table_.find({1, PoolId{8}}, Tick{4}), kNoBackend) << "of another pool";
    EXPECT_EQ(table_.entries(), 1u);
}

TEST_F(StickyTableTest, without_a_choice_nothing_changes) {
    EXPECT_EQ(decide(1, Tick{0}, kNoBackend).outcome, Outcome::nowhere);
    EXPECT_EQ(table_.entries(), 0u);
    decide(1, Tick{0}, BackendId{4});
    EXPECT_EQ(decide(1, Tick{1}, kNoBackend, false).backend, kNoBackend);
    EXPECT_EQ(decide(1, Tick{2}, BackendId{9}).backend, BackendId{4});
}

TEST_F(StickyTableTest, the_duration_begins_anew_to_the_tick_also_over_the_wrap_of_the_clock) {
    for (const std::uint32_t start : {100u, 0xffff'fff0u, 0x007f'fff0u}) {
        const std::uint64_t hash = 0x1234'5678'0000'0000u + start;
        decide(hash, Tick{start}, BackendId{4});
        decide(hash, Tick{start} + 1, BackendId{5});
        EXPECT_EQ(table_.find({hash, kPool}, Tick{start} + kDuration), BackendId{4});
        EXPECT_EQ(table_.find({hash, kPool}, Tick{start} + (kDuration + 1)), kNoBackend);
        EXPECT_EQ(decide(hash, Tick{start} + (kDuration + 1), BackendId{5}).backend, BackendId{5});
    }
}

TEST_F(StickyTableTest, the_longest_duration_ends) {
    const auto decide_long = [&](Tick now, BackendId choice) {
        return table_.decide(
            {3, kPool}, now, kMaxTimeoutTicks, [](BackendId) { return true; }, [choice] { return choice; });
    };
    decide_long(Tick{5}, BackendId{1});
    EXPECT_EQ(decide_long(Tick{5} + (kMaxTimeoutTicks - 1), BackendId{2}).backend, BackendId{1});
    EXPECT_EQ(decide_long(Tick{5} + (2 * kMaxTimeoutTicks - 1), BackendId{2}).backend, BackendId{2});
}

TEST(StickyRule, masks_the_bits_behind_the_prefix) {
    const StickyRule rule = StickyRule::of(1, 20, 52);
    EXPECT_EQ(rule.prefix_of(parse_ip_address("198.51.255.7")->v4()), parse_ip_address("198.51.240.0")->v4());
    EXPECT_EQ(rule.prefix_of(parse_ip_address("2001:db8:5:ffff::7")->v6()),
              parse_ip_address("2001:db8:5:f000::")->v6());
    const StickyRule whole = StickyRule::of(1, 32, 128);
    EXPECT_EQ(whole.prefix_of(parse_ip_address("198.51.255.7")->v4()),
              parse_ip_address("198.51.255.7")->v4());
    EXPECT_EQ(whole.prefix_of(parse_ip_address("2001:db8::7")->v6()), parse_ip_address("2001:db8::7")->v6());
    EXPECT_FALSE(StickyRule{}.is_on());
    EXPECT_TRUE(rule.is_on());
}

TEST(StickyRule, owners_share_the_clients_evenly_and_pools_differ) {
    constexpr std::uint32_t kWorkers = 7, kClients = 70'000;
    std::array<unsigned, kWorkers> owned{};
    unsigned same = 0;
    for (std::uint32_t n = 0; n < kClients; ++n) {
        const std::uint64_t hash = client_hash<V4>(HashKey::zero(), kPool, Ipv4Address{Be32(n)});
        ++owned[owner_of_client(hash, kWorkers)];
        same += hash == client_hash<V4>(HashKey::zero(), PoolId{kWorkers + 1}, Ipv4Address{Be32(n)}) ? 1 : 0;
    }
    for (const unsigned clients : owned) EXPECT_NEAR(clients, kClients / kWorkers, 500);
    EXPECT_EQ(same, 0u);
}

}  // namespace
}  // namespace weir
