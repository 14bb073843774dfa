// What the prober counts: a plain value for metrics.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "ctrl/health/probe.h"
#include "ctrl/metrics/duration_histogram.h"

namespace weir {

struct ProberStatistics {
    struct Owner {
        std::array<std::uint64_t, kProbeOutcomes> results{};  // by ProbeOutcome
        DurationHistogram duration;                           // from the first packet to the verdict
        [[nodiscard]] std::uint64_t of(ProbeOutcome outcome) const {
            return results[static_cast<std::size_t>(outcome)];
        }
    };
    std::map<std::string, Owner, std::less<>> owners;  // a probe that several share counts for each

    std::uint64_t probes = 0;  // begun
    std::uint64_t late = 0;    // of them, over 50 ms after their time
    // Of them, not sent for want of something of this machine's (descriptors, memory, the source address):
    // they have no verdict and call nobody. Why, of the last one.
    std::uint64_t unsent = 0;
    std::string unsent_why;
    DurationHistogram lateness;  // of each beginning
    // How much longer than configured the intervals are, over the last ten seconds or so: 1 unless there is
    // more to probe than the core, or the limit of descriptors, can bear.
    double stretch = 1;
    std::size_t in_flight = 0, most_in_flight = 0;  // now, and the limit
    std::size_t targets = 0, subscriptions = 0;     // distinct probes, and who wants them
};

}  // namespace weir
