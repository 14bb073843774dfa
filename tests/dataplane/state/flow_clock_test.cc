#include "dataplane/state/flow_clock.h"

#include <gtest/gtest.h>

#include <random>

namespace weir {
namespace {

// As flow_clock.h says it in words: at most the timeout is left, and less than a 16th of it has gone by.
bool is_fresh_in_words(TickCount timeout, std::int32_t scaled_left) {
    const std::int64_t whole = std::int64_t{timeout} << FlowTimeout::kScale;
    const std::int64_t gone = whole - scaled_left;
    return gone >= 0 && gone < whole / FlowTimeout::kRefreshPart;
}

TEST(FlowTimeout, is_fresh_as_the_words_say_at_every_edge) {
    for (const TickCount timeout : {1u, 2u, 15u, 16u, 17u, 640u, 7'680u, 22'400u, kMaxTimeoutTicks}) {
        const FlowTimeout subject(timeout);
        EXPECT_EQ(subject.ticks(), timeout);
        const auto whole = static_cast<std::int32_t>(timeout << FlowTimeout::kScale);
        const std::int32_t part = whole / static_cast<std::int32_t>(FlowTimeout::kRefreshPart);
        for (std::int32_t off = -3; off <= 3; ++off)
            for (const std::int32_t left : {0, part, whole - part, whole, whole / 2, -whole})
                EXPECT_EQ(subject.is_fresh(left + off), is_fresh_in_words(timeout, left + off))
                    << timeout << " with " << left + off;
        for (const std::int32_t left : {INT32_MIN, INT32_MIN + 1, INT32_MAX, INT32_MAX - 1})
            EXPECT_FALSE(subject.is_fresh(left)) << timeout;
    }
}

TEST(FlowTimeout, is_fresh_as_the_words_say_for_random_times) {
    std::mt19937 random(61);
    std::uint64_t fresh = 0;
    for (int i = 0; i < 2'000'000; ++i) {
        const auto timeout = 1 + static_cast<TickCount>(random() % (kMaxTimeoutTicks >> (random() % 16)));
        auto left = static_cast<std::int32_t>(random());
        const auto whole = static_cast<std::int32_t>(timeout << FlowTimeout::kScale);
        if (i % 2 == 0) left = whole - static_cast<std::int32_t>(random() % (timeout << 5));
        ASSERT_EQ(FlowTimeout(timeout).is_fresh(left), is_fresh_in_words(timeout, left))
            << timeout << " with " << left;
        fresh += is_fresh_in_words(timeout, left) ? 1u : 0u;
    }
    EXPECT_GT(fresh, 100'000u);
}

}  // namespace
}  // namespace weir
