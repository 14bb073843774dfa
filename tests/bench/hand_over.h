// What it costs in mode nat that a reply comes to a worker that has not its session, and travels by ring to
// the one that has: two workers, stepped in turn on one core, so that the cycles of both are in the figure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/bench/lane.h"

namespace weir::bench {

// One share of replies that travel: with Q queues and no RSS of weir's it is 1 - 1/Q.
struct HandOverFigure {
    std::string name;
    double share = 0;            // as it came out
    std::vector<double> cycles;  // a reply, by round
};

// All shares in turn, round by round; the first one is 0: every reply comes to its owner.
[[nodiscard]] std::vector<HandOverFigure> hand_over_figures(const Row& row, const Mbufs& mbufs,
                                                            std::size_t rounds);

}  // namespace weir::bench
