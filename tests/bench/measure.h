// Paired measurement: two or three lanes in turn, one short slice each, many times. What the machine does to
// one it does to the others a moment later, so ratios within a round hold where absolute times swing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "tests/bench/lane.h"

namespace weir::bench {

inline constexpr std::size_t kRounds = 101;

inline double median_of(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}
inline double least_of(const std::vector<double>& values) {
    return *std::min_element(values.begin(), values.end());
}
// Median of a[i] / b[i].
inline double ratio_of(const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
    return median_of(std::move(ratios));
}

// Cycles a packet, by lane and round. Every other round runs backwards, so that no lane always comes after
// the same one.
inline std::vector<std::vector<double>> measure(const std::vector<Lane*>& lanes, const Mbufs& mbufs,
                                                std::size_t rounds = kRounds) {
    std::vector<std::vector<double>> cycles(lanes.size());
    for (Lane* lane : lanes) (void)lane->slice(mbufs);  // caches and branch predictors
    for (std::size_t round = 0; round < rounds; ++round)
        for (std::size_t i = 0; i < lanes.size(); ++i) {
            const std::size_t at = round % 2 == 0 ? i : lanes.size() - 1 - i;
            cycles[at].push_back(lanes[at]->slice(mbufs));
        }
    return cycles;
}

}  // namespace weir::bench
