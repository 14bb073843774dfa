// What the metrics say about weir's view of the kernel. A plain value.
#pragma once

#include <cstdint>

#include "ctrl/kernel/kernel_ways.h"
#include "ctrl/metrics/duration_histogram.h"

namespace weir {

struct KernelStats {
    HopCounts hops;
    std::uint64_t resyncs = 0;            // notifications were lost, everything was read anew
    std::uint64_t changes = 0;            // notifications that concerned weir
    DurationHistogram publish_durations;  // from the first notification of a change to its publication
};

}  // namespace weir
