// Counts of durations by upper bound, cumulative only when printed. A plain value, one thread at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weir {

struct DurationHistogram {
    // Seconds. A publication is a few loops of a worker (microseconds) unless one is stuck or asleep.
    static constexpr std::array kBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                           0.025,  0.05,    0.1,    0.25,  0.5,    1.0,   2.5};

    std::array<std::uint64_t, kBounds.size() + 1> counts{};  // the last: above every bound
    double sum = 0;                                          // seconds

    void record(std::chrono::nanoseconds duration) {
        const double seconds = std::chrono::duration<double>(duration).count();
        std::size_t bucket = 0;
        while (bucket < kBounds.size() && seconds > kBounds[bucket]) ++bucket;
        ++counts[bucket];
        sum += seconds;
    }
    [[nodiscard]] std::uint64_t count() const {
        std::uint64_t total = 0;
        for (const std::uint64_t n : counts) total += n;
        return total;
    }
};

}  // namespace weir
