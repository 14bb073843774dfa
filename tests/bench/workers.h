// Two workers at once against one alone: workers share nothing, so what is missing to twice the rate is the
// machine's (caches, memory, threads of one core, a lower clock). The row of pure arithmetic says how much of
// that is so for any program.
#pragma once

#include <optional>
#include <vector>

#include "tests/bench/row.h"

namespace weir::bench {

// TSC cycles a packet, or a step of arithmetic; those of one worker while both are at work, but `alone`.
struct Scaling {
    double cycles_min = 0, cycles_median = 0, alone_cycles_median = 0;
    double scaling = 0;  // both rates, each as a multiple of the same worker's alone, summed; 2 is perfect
    unsigned rounds = 0, disturbed = 0;  // of the disturbed ones none counts, unless all were
};

// Each worker has a CPU of `cpus`, the first two, and its own world, flow table, mbufs and traffic. None if
// there are fewer CPUs.
[[nodiscard]] std::optional<Scaling> scaling_of(const Row& row, const std::vector<unsigned>& cpus);
[[nodiscard]] std::optional<Scaling> scaling_of_arithmetic(const std::vector<unsigned>& cpus);

}  // namespace weir::bench
