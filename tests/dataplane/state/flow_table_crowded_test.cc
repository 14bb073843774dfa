// What a new flow finds in a table that is full to kCrowded percent, and in one that is not; and the sweep
// that looks for nobody.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/dataplane/state/flow_table_memory.h"

namespace weir {
namespace {

using enum FlowState;

constexpr Tick kNow{1'000};
constexpr TickCount kTimeout = 640;
constexpr std::uint32_t kFirst = 3, kSecond = 6, kSum = 9;  // the new flow's buckets; the sum of the two

FlowOwner owner(std::uint32_t backend) { return {ServiceId{1}, BackendId{backend}}; }

// Sixteen buckets, 80 slots, crowded from 72 entries on: the upper four bits of either half of a hash say
// where the entry may lie.
class CrowdedTable : public testing::Test {
  protected:
    static std::uint64_t hash(std::uint32_t first, std::uint32_t sum, std::uint32_t rest = 0) {
        return std::uint64_t{first} << 60 | sum << 28 | rest;
    }
    InsertResult insert(std::uint64_t hash, std::uint32_t backend, FlowState state, Tick now = kNow) {
        return table_.insert(hash, owner(backend), state, now, kTimeout);
    }
    InsertResult insert_new(std::uint32_t number = 77, FlowState state = tcp_opening) {
        return insert(hash(kFirst, kSum, number), number, state, kNow + ++later_);
    }
    // Backends 0, 1, ... in the first bucket, 10, 11, ... in the second, all at home there.
    void fill(std::uint32_t bucket, std::initializer_list<FlowState> states) {
        std::uint32_t number = bucket == kFirst ? 0 : 10;
        for (const FlowState state : states) {
            // Of five the first is the youngest: slots and ages run against each other.
            insert(hash(bucket, kSum, number), number, state, kNow + (9 - number % 10));
            ++number;
        }
    }
    // Confirmed entries in the other buckets, at home, until the table holds `entries`.
    void fill_others(std::uint64_t entries) {
        for (std::uint32_t bucket = 0; bucket < 16; ++bucket)
            for (std::uint32_t n = 0; n < 5 && table_.entries() < entries; ++n)
                if (bucket != kFirst && bucket != kSecond)
                    insert(hash(bucket, 2 * bucket % 16, n), 100 + 5 * bucket + n, udp);
        ASSERT_EQ(table_.entries(), entries);
    }
    void TearDown() override { memory_.expect_consistent(table_); }

    static constexpr std::uint64_t kCrowdedFrom = 80 * FlowTable::kCrowded / 100;
    TickCount later_ = 20;  // each new flow comes after the others
    FlowTableMemory memory_{80};
    FlowTable table_{memory_.bytes()};
};

TEST_F(CrowdedTable, evicts_the_earliest_unconfirmed_of_the_first_bucket_and_looks_no_further) {
    fill(kFirst, {tcp_opening, udp, tcp_opening, tcp_established, tcp_midflow});
    fill(kSecond, {tcp_opening});  // four free slots
    fill_others(kCrowdedFrom);
    const std::vector<FlowBucket> before = memory_.buckets();
    for (const std::uint32_t next : {4u, 2u, 0u}) {  // the one begun first has the earliest deadline
        const InsertResult result = insert_new(70 + next);
        EXPECT_EQ(result.outcome, InsertOutcome::evicted_unconfirmed);
        EXPECT_EQ(result.removed, owner(next));
        EXPECT_EQ(result.entry.owner(), owner(70 + next));
    }
    EXPECT_EQ(insert_new(78).removed, owner(74)) << "its own kind next";
    EXPECT_EQ(table_.entries(), kCrowdedFrom);
    for (std::uint32_t at = 0; at < 16; ++at)
        if (at != kFirst) {
            EXPECT_EQ(std::memcmp(&before[at], &memory_.buckets()[at], sizeof(FlowBucket)), 0) << at;
        }
}

TEST_F(CrowdedTable, one_entry_below_the_mark_uses_the_second_bucket_instead) {
    fill(kFirst, {tcp_opening, udp, tcp_opening, tcp_established, tcp_midflow});
    fill(kSecond, {tcp_opening});
    fill_others(kCrowdedFrom - 1);
    EXPECT_EQ(insert_new(77).outcome, InsertOutcome::placed);
    EXPECT_EQ(memory_.buckets()[kFirst].overflow, 1);
    EXPECT_EQ(insert_new(78).outcome, InsertOutcome::evicted_unconfirmed) << "now it is crowded";
    EXPECT_EQ(memory_.buckets()[kFirst].overflow, 1);
}

TEST_F(CrowdedTable, a_free_slot_of_the_second_bucket_is_used_if_the_first_has_only_confirmed_ones) {
    fill(kFirst, {udp, udp, tcp_established, tcp_closing, tcp_reset});
    fill(kSecond, {tcp_opening, udp, udp, udp});
    fill_others(kCrowdedFrom);
    EXPECT_EQ(insert_new(77, tcp_opening).outcome, InsertOutcome::full) << "a SYN is worth one line";
    EXPECT_EQ(memory_.buckets()[kFirst].overflow, 0);
    EXPECT_EQ(insert_new(77, tcp_midflow).outcome, InsertOutcome::placed) << "the flow's next packet";
    EXPECT_EQ(memory_.buckets()[kFirst].overflow, 1);
    EXPECT_EQ(memory_.buckets()[kSecond].displaced, 1 << 4);
    EXPECT_TRUE(table_.find(hash(kFirst, kSum, 77), ServiceId{1}, kNow));
}

TEST_F(CrowdedTable, a_free_or_expired_slot_of_the_first_bucket_goes_before_any_eviction) {
    fill(kFirst, {tcp_opening, tcp_opening, tcp_opening, udp});
    fill_others(70);
    fill(kSecond, {udp, udp});
    ASSERT_GE(table_.entries(), kCrowdedFrom);
    EXPECT_EQ(insert_new(77).outcome, InsertOutcome::placed) << "free";
    // The entry in slot 3 has the earliest deadline; past it, it goes, confirmed as it was.
    const InsertResult expired = insert(hash(kFirst, kSum, 78), 78, tcp_opening, kNow + 6 + kTimeout);
    EXPECT_EQ(expired.outcome, InsertOutcome::replaced_expired);
    EXPECT_EQ(expired.removed, owner(3));
}

TEST_F(CrowdedTable, the_second_buckets_unconfirmed_entry_is_the_last_that_may_go) {
    fill(kFirst, {udp, udp, tcp_established, tcp_closing, tcp_reset});
    fill(kSecond, {udp, tcp_opening, udp, tcp_midflow, udp});
    fill_others(kCrowdedFrom);
    EXPECT_EQ(insert_new(77, udp_first).removed, owner(13)) << "the earlier of the two";
    EXPECT_EQ(insert_new(78, udp_first).removed, owner(77)) << "before one that is in its first bucket";
    EXPECT_EQ(insert_new(79, udp_first).removed, owner(78));
    EXPECT_EQ(table_.entries(), kCrowdedFrom);
}

TEST_F(CrowdedTable, confirmed_entries_are_never_evicted) {
    for (const FlowState state : {tcp_established, tcp_closing, tcp_reset, udp}) {
        fill(kFirst, {state, state, state, state, state});
        fill(kSecond, {state, state, state, state, state});
        fill_others(kCrowdedFrom);
        const std::vector<FlowBucket> before = memory_.buckets();
        for (std::uint32_t n = 0; n < 20; ++n) {
            const InsertResult result = insert_new(70 + n);
            EXPECT_EQ(result.outcome, InsertOutcome::full);
            EXPECT_FALSE(result.has_removed());
            EXPECT_FALSE(result.entry);
        }
        EXPECT_EQ(std::memcmp(before.data(), memory_.buckets().data(), 16 * sizeof(FlowBucket)), 0);
        table_.sweep(
            16, kNow, [](FlowOwner) { return true; }, kIgnoreRemoved);
        ASSERT_EQ(table_.entries(), 0u);
    }
}

// An entry of the full second bucket could move on to bucket 4: below the mark it does, above it stays.
TEST_F(CrowdedTable, displaces_below_the_mark_and_not_above_it) {
    for (const bool crowded : {false, true}) {
        fill(kFirst, {udp, udp, udp, udp, udp});
        fill(kSecond, {udp, udp, udp, udp});
        insert(hash(kSecond, 15, 50), 50, udp);  // or bucket 9
        fill_others(kCrowdedFrom - 1);
        // Bucket 9 is full by now if bucket 8 is: its first slot is made free again.
        for (std::uint32_t n = 0; n < 5; ++n)
            if (const FlowRef entry = table_.find(hash(9, 2, n), ServiceId{1}, kNow)) {
                table_.erase(entry);
                break;
            }
        const std::uint64_t left = kCrowdedFrom - table_.entries();
        for (std::uint32_t n = 0; crowded && n < left; ++n) insert(hash(15, 14, 90 + n), 90 + n, udp);
        ASSERT_EQ(table_.entries() >= kCrowdedFrom, crowded);
        const InsertResult result = insert_new();
        EXPECT_EQ(result.outcome, crowded ? InsertOutcome::full : InsertOutcome::placed);
        EXPECT_EQ(memory_.buckets()[9].displaced != 0, !crowded);
        table_.sweep(
            16, kNow, [](FlowOwner) { return true; }, kIgnoreRemoved);
    }
}

// The sweep that looks for nobody removes what has expired, all of it and nothing else, and tells of each.
TEST(FlowTableSweep, looking_for_nobody_removes_the_expired_ones_only) {
    std::mt19937_64 random(71);
    FlowTableMemory memory(5'000);
    FlowTable table(memory.bytes());
    std::vector<std::pair<std::uint64_t, Tick>> deadlines;
    std::vector<bool> told(4'000);
    for (std::uint32_t n = 0; n < 4'000; ++n) {
        const std::uint64_t hash = random();
        const auto timeout = static_cast<TickCount>(1 + random() % 1'000);
        const FlowState state = n % 2 == 0 ? udp : tcp_opening;
        ASSERT_EQ(table.insert(hash, owner(n), state, kNow, timeout).outcome, InsertOutcome::placed);
        deadlines.emplace_back(hash, kNow + timeout);
    }
    for (const TickCount passed : {0u, 1u, 500u, 999u, 1'000u}) {
        const Tick now = kNow + passed;
        table.sweep(table.buckets(), now, NobodyIsGone{}, [&](FlowOwner gone) {
            ASSERT_FALSE(told[index(gone.backend)]) << "twice";
            told[index(gone.backend)] = true;
        });
        std::uint64_t left = 0;
        for (std::uint32_t n = 0; n < 4'000; ++n) {
            const auto& [hash, deadline] = deadlines[n];
            const bool live = static_cast<std::uint32_t>(deadline) > static_cast<std::uint32_t>(now);
            ASSERT_EQ(told[n], !live) << n;
            ASSERT_EQ(static_cast<bool>(table.find(hash, ServiceId{1}, now)), live) << n;
            left += live ? 1u : 0u;
        }
        ASSERT_EQ(table.entries(), left);
        memory.expect_consistent(table);
    }
    EXPECT_EQ(table.entries(), 0u);
    EXPECT_EQ(table.completed_sweeps(), 5u);
}

}  // namespace
}  // namespace weir
