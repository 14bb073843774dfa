// Slow start as shares of many flows: linear for the member that ramps, by weight for the others, and nothing
// at all where nobody ramps, or everybody.
#include "dataplane/tables/selection.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/dataplane/figure.h"

namespace weir {
namespace {

constexpr std::uint32_t kFlows = 100'000;
constexpr TickCount kLength = 30 * kTicksPerSecond;
constexpr Tick kStart{1'000};

PoolTable pool_of(const std::vector<std::uint32_t>& weights) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < weights.size(); ++i) names.push_back("web" + std::to_string(100 + i));
    std::vector<MaglevMember> members;
    for (std::size_t i = 0; i < weights.size(); ++i) members.push_back({names[i], weights[i], true});
    PoolTable pool{
        .id = PoolId{0}, .input = SelectionInput::five_tuple, .maglev = {}, .members = {}, .ramps = {}};
    pool.maglev = MaglevTable::build(HashKey::zero(), "pool", members, MaglevTable::kDefaultSlots);
    for (std::uint32_t i = 0; i < weights.size(); ++i) pool.members.push_back(BackendId{50 + i});
    return pool;
}
void set_ramps(PoolTable& pool, std::vector<Ramp> by_member) {
    pool.ramps = Ramps(std::move(by_member), pool.maglev);
}
// Of the first member.
void set_first_ramp(PoolTable& pool, Ramp ramp) {
    std::vector<Ramp> ramps(pool.members.size());
    ramps[0] = ramp;
    set_ramps(pool, std::move(ramps));
}

std::uint64_t hash_of(std::uint32_t n) {
    static const HashKey key = HashKey::zero();
    FlowKeyV4 flow{};
    flow.source = Ipv4Address{Be32(0xc612'0000u + n / 1000)};
    flow.source_port = Be16(static_cast<std::uint16_t>(1024 + n % 1000));
    return selection_hash<V4>(key, flow, SelectionInput::five_tuple);
}
std::uint32_t choose(const PoolTable& pool, std::uint32_t flow, Tick now) {
    return index(choose_backend(pool, hash_of(flow), now)) - 50;
}
std::vector<double> shares(const PoolTable& pool, Tick now) {
    std::vector<double> of(pool.members.size());
    for (std::uint32_t n = 0; n < kFlows; ++n) of.at(choose(pool, n, now)) += 1.0 / kFlows;
    return of;
}

// With s of its own share the member weighs s times what it does.
TEST(SlowStart, the_share_of_new_flows_grows_with_time) {
    for (const std::vector<std::uint32_t>& weights :
         {std::vector<std::uint32_t>(10, 1), {1, 1}, {3, 1, 2, 2}, {1, 8}}) {
        PoolTable pool = pool_of(weights);
        double others = 0, worst = 0;
        for (std::size_t i = 1; i < weights.size(); ++i) others += weights[i];
        set_first_ramp(pool, {kStart, kLength});
        for (unsigned tenth = 1; tenth <= 10; ++tenth) {
            const double weighs = weights[0] * tenth / 10.0, want = weighs / (weighs + others);
            const std::vector<double> got = shares(pool, kStart + kLength * tenth / 10);
            worst = std::max(worst, std::abs(got[0] - want));
            EXPECT_NEAR(got[0], want, 0.006 + 0.03 * want) << tenth << " tenths of " << weights.size();
            for (std::size_t i = 1; i < weights.size(); ++i)
                EXPECT_NEAR(got[i], (1 - got[0]) * weights[i] / others, 0.012) << "in proportion to weight";
        }
        print_figure("%zu members, the first ramps: share off by %.4f at most", weights.size(), worst);
    }
}

TEST(SlowStart, is_never_starved_and_waits_for_its_start) {
    PoolTable pool = pool_of(std::vector<std::uint32_t>(4, 1));
    set_first_ramp(pool, {kStart, kLength});
    const double least = (1.0 / 64) / (1.0 / 64 + 3);
    for (const Tick now : {Tick{0}, Tick{static_cast<std::uint32_t>(kStart) - 1}, kStart, kStart + 1})
        EXPECT_NEAR(shares(pool, now)[0], least, 0.002);
}

TEST(SlowStart, afterwards_and_without_a_ramp_the_table_alone_decides) {
    const PoolTable plain = pool_of({1, 2, 3});
    PoolTable over = plain, none = plain;
    set_first_ramp(over, {kStart, kLength});
    set_ramps(none, std::vector<Ramp>(3));
    EXPECT_FALSE(over.ramps.empty());
    EXPECT_TRUE(none.ramps.empty()) << "the packet path has one branch";
    EXPECT_EQ(over.maglev.checksum(), plain.maglev.checksum());
    for (std::uint32_t n = 0; n < kFlows; ++n) {
        ASSERT_EQ(choose(over, n, kStart + kLength), choose(plain, n, kStart));
        ASSERT_EQ(choose(none, n, kStart), choose(plain, n, kStart));
    }
}

// Over the wrap of the clock too.
TEST(SlowStart, a_flow_moves_at_most_once_and_only_to_the_member_that_ramps) {
    for (const Tick start : {kStart, Tick{0xffff'ffffu - kLength / 2}}) {
        PoolTable pool = pool_of({1, 2, 3});
        set_first_ramp(pool, {start, kLength});
        for (std::uint32_t n = 0; n < kFlows / 10; ++n) {
            std::uint32_t last = choose(pool, n, start);
            for (unsigned part = 1; part <= 16; ++part) {
                const std::uint32_t next = choose(pool, n, start + kLength * part / 16);
                if (next != last) {
                    ASSERT_EQ(next, 0u);
                }
                last = next;
            }
        }
    }
}

TEST(SlowStart, if_all_ramp_none_refuses) {
    const PoolTable plain = pool_of({1, 2, 3, 0});
    PoolTable all = plain;  // of the last nobody asks: it has no slots
    set_ramps(all, {{kStart, kLength}, {kStart, 2 * kLength}, {kStart + 5, kLength}, {}});
    for (std::uint32_t n = 0; n < kFlows; ++n)
        ASSERT_EQ(choose(all, n, kStart + 10), choose(plain, n, kStart));
    // The first has ended its ramp: now it takes what the others refuse.
    const std::vector<double> then = shares(all, kStart + kLength);
    const double weights = 1 + 2 * 0.5 + 3 * (kLength - 5.0) / kLength;
    EXPECT_NEAR(then[0], 1 / weights, 0.01);
    EXPECT_NEAR(then[1], 1 / weights, 0.01);
}

TEST(SlowStart, a_pool_without_slots_has_no_choice_to_make) {
    PoolTable pool = pool_of({0, 0});
    set_first_ramp(pool, {kStart, kLength});
    EXPECT_EQ(choose_backend(pool, hash_of(1), kStart), kNoBackend);
}

// Whoever asks for many choices gets the eighth.
TEST(SlowStart, the_choices_are_bounded) {
    PoolTable pool = pool_of({1000, 1});
    set_first_ramp(pool, {kStart, kLength});
    const double share = shares(pool, kStart)[0];
    EXPECT_GT(share, 0.9) << "7 refusals of 63 in 64 let 90 % of its flows pass in the end";
    EXPECT_LT(share, 1.0);
}

TEST(SlowStart, tells_the_slot_that_decided) {
    PoolTable pool = pool_of({1, 1});
    set_first_ramp(pool, {kStart, kLength});
    for (std::uint32_t n = 0; n < 1000; ++n) {
        const MemberChoice choice = choose_member(pool, hash_of(n), kStart);
        EXPECT_EQ(pool.maglev.slots()[pool.maglev.slot_of(choice.hash)], choice.member);
    }
}

}  // namespace
}  // namespace weir
