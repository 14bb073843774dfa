#include "dataplane/state/flow_table.h"

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

FlowOwner owner(std::uint32_t backend, std::uint16_t service = 1) {
    return {ServiceId{service}, BackendId{backend}};
}

// Sixteen buckets, so that the upper four bits of either half of a hash say where the entry may lie.
class FlowTableOf16 : public testing::Test {
  protected:
    static std::uint64_t hash(std::uint32_t first, std::uint32_t sum, std::uint32_t rest = 0) {
        return std::uint64_t{first} << 60 | sum << 28 | rest;
    }
    // The backend that a look-up says, or kNoBackend.
    [[nodiscard]] BackendId found(std::uint64_t hash, Tick now = kNow, std::uint16_t service = 1) const {
        const FlowRef entry = table_.find(hash, ServiceId{service}, now);
        return entry ? entry.backend() : kNoBackend;
    }
    InsertResult insert(std::uint64_t hash, std::uint32_t backend, FlowState state = tcp_established,
                        Tick now = kNow) {
        return table_.insert(hash, owner(backend), state, now, kTimeout);
    }
    void TearDown() override { memory_.expect_consistent(table_); }

    FlowTableMemory memory_{80};
    FlowTable table_{memory_.bytes()};
};

TEST_F(FlowTableOf16, finds_what_was_inserted_and_nothing_else) {
    EXPECT_EQ(found(hash(3, 9, 77)), kNoBackend);
    EXPECT_EQ(insert(hash(3, 9, 77), 0xabcde, udp_first).outcome, InsertOutcome::placed);
    EXPECT_EQ(found(hash(3, 9, 77)), BackendId{0xabcde});
    EXPECT_EQ(table_.find(hash(3, 9, 77), ServiceId{1}, kNow).state(), udp_first);
    EXPECT_EQ(found(hash(3, 9, 78)), kNoBackend) << "another tag";
    EXPECT_EQ(found(hash(4, 9, 77)), kNoBackend) << "another bucket";
    EXPECT_EQ(found(hash(6, 9, 77)), kNoBackend) << "the second bucket is no first one";
    EXPECT_EQ(found(hash(3, 9, 77), kNow, 2), kNoBackend) << "another service";
    EXPECT_EQ(table_.entries(), 1u);
    EXPECT_EQ(table_.capacity(), 80u);
}

TEST_F(FlowTableOf16, the_sixth_of_a_bucket_lies_in_its_second_and_is_found_there) {
    for (std::uint32_t i = 0; i < 6; ++i) insert(hash(3, 9, i), i);
    EXPECT_EQ(memory_.buckets()[3].overflow, 1);
    EXPECT_EQ(memory_.buckets()[6].displaced, 1);
    for (std::uint32_t i = 0; i < 6; ++i) EXPECT_EQ(found(hash(3, 9, i)), BackendId{i});
    // A flow that has that bucket as its first, and the same tag, is another flow.
    EXPECT_EQ(found(hash(6, 9, 5)), kNoBackend);
    insert(hash(6, 9, 5), 99);
    EXPECT_EQ(found(hash(6, 9, 5)), BackendId{99});
    EXPECT_EQ(found(hash(3, 9, 5)), BackendId{5});
}

TEST_F(FlowTableOf16, an_entry_at_home_is_no_match_for_a_flow_that_has_its_bucket_as_second) {
    insert(hash(3, 9, 50), 50);
    for (std::uint32_t i = 0; i < 6; ++i) insert(hash(6, 9, i), i);
    EXPECT_EQ(memory_.buckets()[6].overflow, 1);
    EXPECT_EQ(found(hash(6, 9, 50)), kNoBackend);
    EXPECT_EQ(found(hash(3, 9, 50)), BackendId{50});
}

TEST_F(FlowTableOf16, the_overflow_count_goes_down_again) {
    for (std::uint32_t i = 0; i < 8; ++i) insert(hash(3, 9, i), i);
    EXPECT_EQ(memory_.buckets()[3].overflow, 3);
    table_.erase(table_.find(hash(3, 9, 6), ServiceId{1}, kNow));
    EXPECT_EQ(memory_.buckets()[3].overflow, 2);
    EXPECT_EQ(found(hash(3, 9, 6)), kNoBackend);
    EXPECT_EQ(found(hash(3, 9, 7)), BackendId{7});
    table_.sweep(16, kNow + kTimeout, kNobodyGone, kIgnoreRemoved);
    EXPECT_EQ(memory_.buckets()[3].overflow, 0);
    EXPECT_EQ(table_.entries(), 0u);
}

TEST_F(FlowTableOf16, a_saturated_overflow_count_stays_and_entries_are_still_found) {
    memory_.buckets()[3].overflow = FlowBucket::kOverflowSaturated;
    for (std::uint32_t i = 0; i < 7; ++i) insert(hash(3, 9, i), i);
    table_.erase(table_.find(hash(3, 9, 5), ServiceId{1}, kNow));
    EXPECT_EQ(found(hash(3, 9, 6)), BackendId{6});
    table_.sweep(16, kNow + kTimeout, kNobodyGone, kIgnoreRemoved);
    EXPECT_EQ(memory_.buckets()[3].overflow, FlowBucket::kOverflowSaturated);
    memory_.buckets()[3].overflow = 0;
}

TEST_F(FlowTableOf16, entries_make_room_by_moving_to_their_other_bucket) {
    // Buckets 3 and 6 are full; the only entry that can move elsewhere is hash(6, 10), to bucket 4.
    for (std::uint32_t i = 0; i < 5; ++i) insert(hash(3, 9, i), i);
    for (std::uint32_t i = 0; i < 4; ++i) insert(hash(6, 9, 100 + i), 100 + i);
    insert(hash(6, 10), 104);
    EXPECT_EQ(insert(hash(3, 9, 5), 5).outcome, InsertOutcome::placed);
    EXPECT_EQ(memory_.buckets()[4].displaced, 1);
    EXPECT_EQ(found(hash(6, 10)), BackendId{104});
    EXPECT_EQ(found(hash(3, 9, 5)), BackendId{5});
}

TEST_F(FlowTableOf16, displacement_goes_two_steps_deep) {
    for (std::uint32_t i = 0; i < 5; ++i) insert(hash(3, 9, i), i);
    for (std::uint32_t i = 0; i < 4; ++i) insert(hash(6, 9, 100 + i), 100 + i);
    insert(hash(6, 10), 104);                                                    // could go to 4
    for (std::uint32_t i = 0; i < 4; ++i) insert(hash(4, 8, 200 + i), 200 + i);  // only here
    insert(hash(4, 15), 204);                                                    // could go to 11
    EXPECT_EQ(insert(hash(3, 9, 5), 5).outcome, InsertOutcome::placed);
    EXPECT_EQ(memory_.buckets()[11].displaced, 1);
    EXPECT_EQ(found(hash(4, 15)), BackendId{204});
    EXPECT_EQ(found(hash(6, 10)), BackendId{104});
    EXPECT_EQ(found(hash(3, 9, 5)), BackendId{5});
    EXPECT_EQ(table_.entries(), 16u);
}

TEST_F(FlowTableOf16, displacement_never_moves_an_entry_behind_a_running_sweep) {
    for (std::uint32_t i = 0; i < 5; ++i) insert(hash(3, 9, i), i);
    for (std::uint32_t i = 0; i < 4; ++i) insert(hash(6, 9, 100 + i), 100 + i);
    insert(hash(6, 10), 104);
    table_.sweep(5, kNow, kNobodyGone, kIgnoreRemoved);  // bucket 4 is behind it, 6 before it
    EXPECT_EQ(insert(hash(3, 9, 5), 5).outcome, InsertOutcome::full);
    table_.sweep(11, kNow, kNobodyGone, kIgnoreRemoved);
    EXPECT_EQ(insert(hash(3, 9, 5), 5).outcome, InsertOutcome::placed);
}

TEST_F(FlowTableOf16, evicts_the_unconfirmed_entry_with_the_earliest_deadline) {
    for (std::uint32_t i = 0; i < 10; ++i)
        insert(hash(3, 9, i), i, i == 2 || i == 7 ? tcp_opening : udp, kNow + i);
    const InsertResult first = insert(hash(3, 9, 20), 20, tcp_opening, kNow + 20);
    EXPECT_EQ(first.outcome, InsertOutcome::evicted_unconfirmed);
    EXPECT_EQ(first.removed, owner(7)) << "in its second bucket";
    const InsertResult second = insert(hash(3, 9, 21), 21, tcp_established, kNow + 21);
    EXPECT_EQ(second.removed, owner(20)) << "there too";
    const InsertResult third = insert(hash(3, 9, 22), 22, tcp_established, kNow + 22);
    EXPECT_EQ(third.removed, owner(2));
    const InsertResult none = insert(hash(3, 9, 23), 23, tcp_opening, kNow + 23);
    EXPECT_EQ(none.outcome, InsertOutcome::full) << "confirmed entries are never evicted";
    EXPECT_FALSE(none.has_removed());
    EXPECT_FALSE(none.entry);
    EXPECT_EQ(found(hash(3, 9, 23)), kNoBackend);
    EXPECT_EQ(table_.entries(), 10u);
}

TEST_F(FlowTableOf16, an_expired_entry_is_a_miss_and_its_slot_is_used_again) {
    for (std::uint32_t i = 0; i < 10; ++i) insert(hash(3, 9, i), i, udp, kNow + i);
    EXPECT_EQ(found(hash(3, 9, 0), kNow + (kTimeout - 1)), BackendId{0});
    EXPECT_EQ(found(hash(3, 9, 0), kNow + kTimeout), kNoBackend);
    const InsertResult result = insert(hash(3, 9, 0), 50, udp, kNow + kTimeout);
    EXPECT_EQ(result.outcome, InsertOutcome::replaced_expired);
    EXPECT_EQ(result.removed, owner(0));
    EXPECT_EQ(found(hash(3, 9, 0), kNow + kTimeout), BackendId{50});
}

TEST_F(FlowTableOf16, an_expired_entry_does_not_hide_a_live_one_of_the_same_flow) {
    for (std::uint32_t i = 0; i < 2; ++i) insert(hash(3, 9, i), i);
    table_.erase(table_.find(hash(3, 9, 0), ServiceId{1}, kNow));
    const Tick later = kNow + kTimeout;
    insert(hash(3, 9, 1), 7, udp, later);  // takes the empty slot before the expired one
    EXPECT_EQ(table_.entries(), 2u);
    EXPECT_EQ(found(hash(3, 9, 1), later), BackendId{7});
}

TEST_F(FlowTableOf16, an_entry_whose_two_buckets_are_one_has_one_place) {
    for (std::uint32_t i = 0; i < 5; ++i) EXPECT_TRUE(insert(hash(3, 6, i), i).entry);
    EXPECT_EQ(insert(hash(3, 6, 5), 5).outcome, InsertOutcome::full);
    EXPECT_EQ(memory_.buckets()[3].overflow, 0);
    EXPECT_EQ(memory_.buckets()[3].displaced, 0);
    for (std::uint32_t i = 0; i < 5; ++i) EXPECT_EQ(found(hash(3, 6, i)), BackendId{i});
}

TEST_F(FlowTableOf16, touch_writes_a_deadline_only_when_it_moves_by_a_16th_of_the_timeout) {
    insert(hash(3, 9), 1, udp);
    const FlowRef entry = table_.find(hash(3, 9), ServiceId{1}, kNow);
    const FlowBucket before = memory_.buckets()[3];
    const auto unchanged = [&] { return std::memcmp(&before, &memory_.buckets()[3], sizeof(before)) == 0; };
    table_.touch(entry, udp, kNow, kTimeout);
    table_.touch(entry, udp, kNow + (kTimeout / 16 - 1), kTimeout);
    EXPECT_TRUE(unchanged());
    table_.touch(entry, udp, kNow + kTimeout / 16, kTimeout);
    EXPECT_FALSE(unchanged());
    EXPECT_EQ(found(hash(3, 9), kNow + (kTimeout + kTimeout / 16 - 1)), BackendId{1});
    EXPECT_EQ(found(hash(3, 9), kNow + (kTimeout + kTimeout / 16)), kNoBackend);
}

TEST_F(FlowTableOf16, touch_writes_a_new_state_and_a_shorter_timeout_at_once) {
    insert(hash(3, 9), 0xfffff - 1, tcp_established);
    const FlowRef entry = table_.find(hash(3, 9), ServiceId{1}, kNow);
    table_.touch(entry, tcp_closing, kNow + 1, 64);
    EXPECT_EQ(entry.state(), tcp_closing);
    EXPECT_EQ(entry.backend(), BackendId{0xfffff - 1});
    EXPECT_EQ(found(hash(3, 9), kNow + 64), BackendId{0xfffff - 1});
    EXPECT_EQ(found(hash(3, 9), kNow + 65), kNoBackend);
    table_.touch(entry, tcp_closing, kNow + 2, 16);
    EXPECT_EQ(found(hash(3, 9), kNow + 18), kNoBackend);
}

TEST_F(FlowTableOf16, rebind_changes_the_backend_alone) {
    insert(hash(3, 9), 0xf0001, tcp_opening);
    const FlowRef entry = table_.find(hash(3, 9), ServiceId{1}, kNow);
    table_.rebind(entry, BackendId{0x0ffff});
    EXPECT_EQ(entry.owner(), owner(0x0ffff));
    EXPECT_EQ(entry.state(), tcp_opening);
    EXPECT_EQ(found(hash(3, 9), kNow + (kTimeout - 1)), BackendId{0x0ffff});
}

TEST_F(FlowTableOf16, the_sweep_removes_expired_and_gone_entries_and_tells_of_each) {
    for (std::uint32_t i = 0; i < 16; ++i) insert(hash(i, 9, i), i, udp, i % 2 == 0 ? kNow : kNow + 100u);
    const auto backend_3 = [](FlowOwner o) { return o.backend == BackendId{3}; };
    std::vector<std::uint32_t> removed;
    const auto note = [&removed](FlowOwner o) { removed.push_back(index(o.backend)); };
    EXPECT_EQ(table_.sweep(10, kNow + kTimeout, backend_3, note), 0u);
    EXPECT_EQ(table_.sweep(6, kNow + kTimeout, backend_3, note), 1u);
    EXPECT_EQ(removed, (std::vector<std::uint32_t>{0, 2, 3, 4, 6, 8, 10, 12, 14}));
    EXPECT_EQ(table_.entries(), 7u);
    EXPECT_EQ(table_.sweep(40, kNow + kTimeout, backend_3, note), 3u) << "three and a half rounds";
    EXPECT_EQ(removed.size(), 9u);
}

// 24-bit and 32-bit wrap of the clock, the longest timeout included.
TEST_F(FlowTableOf16, deadlines_survive_the_wrap_of_the_clock) {
    for (const std::uint64_t start : {(1ull << 24) - 10, (1ull << 32) - 10, (1ull << 31) - 10, 0ull}) {
        for (const TickCount timeout : {1u, 20u, 640u, kMaxTimeoutTicks}) {
            const Tick now{static_cast<std::uint32_t>(start)};
            const InsertResult result = table_.insert(hash(1, 2), owner(1), udp, now, timeout);
            EXPECT_EQ(found(hash(1, 2), now), BackendId{1});
            EXPECT_EQ(found(hash(1, 2), now + (timeout - 1)), BackendId{1}) << start << " + " << timeout;
            EXPECT_EQ(found(hash(1, 2), now + timeout), kNoBackend) << start << " + " << timeout;
            EXPECT_EQ(found(hash(1, 2), now + (timeout + 12 * 3600 * kTicksPerSecond)), kNoBackend);
            table_.erase(result.entry);
        }
    }
}

TEST(FlowTable, works_with_any_number_of_buckets) {
    EXPECT_EQ(FlowTable::bytes_for(0), 64u);
    EXPECT_EQ(FlowTable::bytes_for(5), 64u);
    EXPECT_EQ(FlowTable::bytes_for(6), 128u);
    std::mt19937_64 random(21);
    for (const std::uint64_t buckets : {1u, 2u, 3u, 7u, 100u, 1'000u}) {
        FlowTableMemory memory(5 * buckets);
        FlowTable table(memory.bytes());
        ASSERT_EQ(table.buckets(), buckets);
        ASSERT_EQ(table.capacity(), 5 * buckets);
        std::vector<std::uint64_t> placed;
        for (std::uint64_t i = 0; i < 10 * buckets; ++i) {
            const std::uint64_t hash = random();
            if (table.insert(hash, owner(static_cast<std::uint32_t>(i)), udp, kNow, kTimeout).entry)
                placed.push_back(hash);
        }
        EXPECT_EQ(table.entries(), placed.size());
        for (const std::uint64_t hash : placed) EXPECT_TRUE(table.find(hash, ServiceId{1}, kNow));
        memory.expect_consistent(table);
    }
}

class Random {
  public:
    explicit Random(std::uint32_t seed) : engine_(seed) {}
    std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

  private:
    std::mt19937 engine_;
};

TEST(FlowBucket, match_and_its_portable_twin_agree) {
    Random random(22);
    FlowBucket bucket{};
    for (int i = 0; i < 200'000; ++i) {
        for (auto& tag : bucket.tags) tag = random() % 4 == 0 ? 7 : random();
        const std::uint32_t tag = random() % 2 == 0 ? 7 : bucket.tags[random() % 5];
        unsigned expected = 0;
        for (unsigned slot = 0; slot < 5; ++slot)
            if (bucket.tags[slot] == tag) expected += 1u << slot;
        ASSERT_EQ(match_tags(bucket, tag), expected);
        ASSERT_EQ(match_tags_portable(bucket, tag), expected);
    }
}

TEST(FlowBucket, room_and_its_portable_twin_agree) {
    Random random(24);
    const std::array states{
        FlowState::none,        FlowState::tcp_opening, FlowState::tcp_midflow, FlowState::tcp_established,
        FlowState::tcp_closing, FlowState::tcp_reset,   FlowState::udp_first,   FlowState::udp};
    std::uint64_t without = 0;
    for (int i = 0; i < 300'000; ++i) {
        FlowBucket bucket{};
        const Tick now{static_cast<std::uint32_t>(random())};
        const bool mostly_confirmed = random() % 2 == 0;
        for (unsigned slot = 0; slot < FlowBucket::kSlots; ++slot) {
            const FlowState state =
                mostly_confirmed && random() % 16 != 0 ? FlowState::udp : states[random() % states.size()];
            // From a minute past the deadline to the longest timeout, both ends often.
            const std::uint32_t left = random() % 4 == 0 ? random() % 3 : random() % kMaxTimeoutTicks;
            const std::uint32_t past = mostly_confirmed ? 0 : random() % (2 * 60 * kTicksPerSecond);
            if (state != FlowState::none)
                bucket.set(slot, {ServiceId{1}, BackendId{random() & 0xfffff}}, state, now + (left - past));
            bucket.set_displaced(slot, random() % 4 == 0);
        }
        bucket.services[0] = static_cast<std::uint16_t>(random());
        bucket.overflow = static_cast<std::uint16_t>(random());
        const FlowRoom expected = room_in_portable(bucket, now);
        ASSERT_EQ(room_in(bucket, now).cost, expected.cost);
        ASSERT_EQ(has_room(bucket, now), expected.is_any());
        without += expected.is_any() ? 0 : 1;
    }
    EXPECT_GT(without, 1'000u);
}

TEST(FlowBucket, fields_do_not_disturb_each_other) {
    Random random(23);
    for (int i = 0; i < 100'000; ++i) {
        FlowBucket bucket{};
        const unsigned slot = random() % 5;
        const FlowOwner who{ServiceId{static_cast<std::uint16_t>(random())}, BackendId{random() & 0xfffff}};
        const auto state = static_cast<FlowState>(1 + random() % (kFlowStates - 1));
        const Tick now{static_cast<std::uint32_t>(random())};
        const TickCount timeout = 1 + random() % kMaxTimeoutTicks;
        for (const bool owner_first : {true, false}) {
            if (owner_first) bucket.set_owner(slot, who);
            bucket.set_state(slot, state, now + timeout);
            if (!owner_first) bucket.set_owner(slot, who);
            ASSERT_EQ(bucket.owner(slot), who);
            ASSERT_EQ(bucket.state(slot), state);
            ASSERT_EQ(bucket.scaled_ticks_left(slot, now) / 256, static_cast<std::int32_t>(timeout));
        }
        for (unsigned other = 0; other < 5; ++other) {
            if (other == slot) continue;
            ASSERT_TRUE(bucket.is_empty(other));
            ASSERT_EQ(bucket.owner(other), (FlowOwner{}));
        }
    }
}

}  // namespace
}  // namespace weir
