#include "dataplane/state/idle_backoff.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace weir {
namespace {

constexpr std::uint64_t kUs = 1'000, kMs = 1'000'000, kSecond = 1'000'000'000;

// One gap between packets under a clock of the test's own.
struct Gap {
    unsigned sleeps = 0;
    std::uint64_t late = 0;  // ns that the packet waited for the end of a nap
};
Gap pass(IdleBackoff& backoff, std::uint64_t gap) {
    Gap passed;
    std::uint64_t now = 0;
    while (now < gap) {
        const std::uint64_t sleep = backoff.sleep(now, false);
        passed.sleeps += sleep != 0 ? 1 : 0;
        now += sleep != 0 ? sleep : 50;
    }
    passed.late = now - gap;
    backoff.ended(now);
    return passed;
}

TEST(IdleBackoffTest, it_spins_first_and_naps_grow_with_the_time_idle) {
    const IdleBackoff backoff;
    EXPECT_EQ(backoff.sleep(0, false), 0u);
    EXPECT_EQ(backoff.sleep(IdleBackoff::kShortestSpin - 1, false), 0u);
    EXPECT_EQ(backoff.sleep(IdleBackoff::kShortestSpin, false), IdleBackoff::kShortestNap);
    EXPECT_EQ(backoff.sleep(100 * kUs, false), 25 * kUs);
    EXPECT_EQ(backoff.sleep(4 * kMs, false), kMs);
    EXPECT_EQ(backoff.sleep(500 * kMs, false), kMs) << "a millisecond for half a second";
    EXPECT_EQ(backoff.sleep(kSecond, false), kSecond / 512);
    EXPECT_EQ(backoff.sleep(100 * kSecond, false), IdleBackoff::kLongestDoze);
    std::uint64_t before = 0;
    for (std::uint64_t idle = kUs; idle < 10 * kSecond; idle += idle / 3) {
        EXPECT_GE(backoff.sleep(idle, false), before) << idle;
        before = backoff.sleep(idle, false);
    }
}

TEST(IdleBackoffTest, what_a_frame_ends_is_one_long_sleep) {
    const IdleBackoff backoff;
    EXPECT_EQ(backoff.sleep(0, true), 0u);
    for (const std::uint64_t idle : {10 * kUs, kMs, 10 * kSecond})
        EXPECT_EQ(backoff.sleep(idle, true), IdleBackoff::kLongestWait);
}

TEST(IdleBackoffTest, the_spin_grows_to_bridge_short_gaps_and_shrinks_after_long_ones) {
    IdleBackoff backoff;
    for (const std::uint64_t longer : {8 * kUs, 16 * kUs, 32 * kUs, 32 * kUs}) {
        backoff.ended(IdleBackoff::kLongestSpin);
        EXPECT_EQ(backoff.spin(), longer);
    }
    backoff.ended(20 * kUs);
    EXPECT_EQ(backoff.spin(), 32 * kUs) << "it was long enough";
    for (const std::uint64_t shorter : {16 * kUs, 8 * kUs, 4 * kUs, 4 * kUs}) {
        backoff.ended(kMs);
        EXPECT_EQ(backoff.spin(), shorter);
    }
}

TEST(IdleBackoffTest, dense_traffic_is_spun_for_and_sparse_traffic_slept_for) {
    IdleBackoff backoff;
    for (int n = 0; n < 8; ++n) (void)pass(backoff, 20 * kUs);
    EXPECT_EQ(pass(backoff, 20 * kUs).sleeps, 0u);
    (void)pass(backoff, 10 * kMs);
    for (int n = 0; n < 8; ++n) (void)pass(backoff, kMs);
    EXPECT_LE(pass(backoff, kMs).sleeps, 24u);
    EXPECT_GT(pass(backoff, kMs).sleeps, 5u);
}

TEST(IdleBackoffTest, a_packet_waits_at_most_a_quarter_of_its_gap) {
    IdleBackoff backoff;
    std::srand(7);
    for (int n = 0; n < 2'000; ++n) {
        const std::uint64_t gap = kUs + static_cast<std::uint64_t>(std::rand()) % (kUs << (n % 14));
        EXPECT_LE(pass(backoff, gap).late, std::max(gap / 4, IdleBackoff::kShortestNap)) << gap;
    }
    EXPECT_LE(pass(backoff, 5 * kSecond).late, IdleBackoff::kLongestDoze);
}

}  // namespace
}  // namespace weir
