#include "dataplane/state/punt_limits.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr Tick tick(std::uint32_t n) { return Tick{n}; }

// So many of `asked` packets pass.
std::uint32_t taken(TokenBucket& bucket, Tick now, std::uint32_t asked) {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < asked; ++i) count += bucket.take(now) ? 1 : 0;
    return count;
}

TEST(TokenBucket, lets_a_burst_through_and_then_its_rate) {
    TokenBucket bucket(640, 100);
    EXPECT_EQ(taken(bucket, tick(1), 1'000), 100u);
    EXPECT_EQ(taken(bucket, tick(1), 1'000), 0u);
    EXPECT_EQ(taken(bucket, tick(2), 1'000), 10u);
    EXPECT_EQ(taken(bucket, tick(5), 1'000), 30u);
    EXPECT_EQ(taken(bucket, tick(5 + 64), 1'000), 100u) << "no more than the burst, however long it waited";
}

TEST(TokenBucket, keeps_fractions_of_a_packet_between_ticks) {
    for (const std::uint32_t rate : {1u, 7u, 63u, 65u, 1'000u, 200'000u}) {
        TokenBucket bucket(rate, std::max(rate, 2u));
        taken(bucket, tick(0), 1'000'000);
        std::uint32_t passed = 0;
        for (std::uint32_t t = 1; t <= 10 * kTicksPerSecond; ++t) passed += taken(bucket, tick(t), 10'000);
        EXPECT_EQ(passed, 10 * rate);
    }
}

TEST(TokenBucket, does_not_notice_that_the_clock_wraps) {
    TokenBucket bucket(640, 100);
    taken(bucket, tick(0xffff'fffe), 1'000);
    EXPECT_EQ(taken(bucket, tick(0xffff'ffff), 1'000), 10u);
    EXPECT_EQ(taken(bucket, tick(2), 1'000), 30u);
}

TEST(PuntLimits, each_class_has_its_own_and_each_worker_its_share) {
    PuntLimits one(1), four(4);
    const auto passed = [](PuntLimits& limits, PuntClass punt_class) {
        std::uint32_t count = 0;
        for (std::uint32_t t = 1; t <= 20 * kTicksPerSecond; ++t)
            while (limits.take(punt_class, tick(t))) ++count;
        return count;
    };
    for (std::size_t c = 0; c < kPuntClasses; ++c) {
        const auto punt_class = static_cast<PuntClass>(c);
        const double ratio = double(passed(one, punt_class)) / passed(four, punt_class);
        EXPECT_NEAR(ratio, 4.0, 0.02) << name_of(punt_class);
    }
    PuntLimits many(10'000);
    EXPECT_TRUE(many.take(PuntClass::link, tick(1))) << "a share is never nothing";
}

}  // namespace
}  // namespace weir
