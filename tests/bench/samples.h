// Durations of one thing done again and again. The control core has a CPU that is idle but for it; on a
// machine that is shared, samples during which the kernel gave the CPU to another program would tell that
// program's time slice. They are told apart, and counted.
#pragma once

#include <sys/resource.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/bench/scale_report.h"
#include "tests/dataplane/figure.h"

namespace weir::bench {

class Samples {
  public:
    template <class Work>
    void take(Work&& work) {
        const std::int64_t switches = involuntary_switches();
        const Stopwatch watch;
        work();
        all_.push_back(watch.milliseconds());
        if (involuntary_switches() == switches) undisturbed_.push_back(all_.back());
    }
    // Median and p99, to which the limit applies; p99 with the disturbed samples, and their share.
    // Precondition: take().
    void add_to(Report& report, const std::string& name, std::optional<double> limit = {}) const {
        const std::vector<double>& samples = undisturbed_.empty() ? all_ : undisturbed_;
        report.add(name + ", median", median(samples), "ms");
        report.add(name + ", p99", percentile(samples, 0.99), "ms", limit);
        if (undisturbed_.size() == all_.size()) return;
        report.add(name + ", p99 with other programs", percentile(all_, 0.99), "ms");
        report.add(
            name + ", disturbed by other programs",
            100.0 - 100.0 * static_cast<double>(undisturbed_.size()) / static_cast<double>(all_.size()), "%");
    }
    // A duration that was measured elsewhere.
    void add(double ms) {
        all_.push_back(ms);
        undisturbed_.push_back(ms);
    }

  private:
    static std::int64_t involuntary_switches() {
        rusage usage{};
        getrusage(RUSAGE_THREAD, &usage);
        return usage.ru_nivcsw;
    }
    std::vector<double> all_, undisturbed_;
};

}  // namespace weir::bench
