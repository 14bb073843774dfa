// MetricsInput and worker counters -> Prometheus' metric families (DESIGN.md section 10).
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "ctrl/metrics/metrics_input.h"

namespace weir {

// Pure but for the workers' counters.
[[nodiscard]] std::vector<prometheus::MetricFamily> collect_metrics(const MetricsInput& input);

class MetricsCollector : public prometheus::Collectable {
  public:
    // The control thread, once a second or after a change.
    void update(std::shared_ptr<const MetricsInput> input);
    // Any thread. Never throws (an exception here would end the process): no metrics then, and errors() says
    // so.
    std::vector<prometheus::MetricFamily> Collect() const override;
    [[nodiscard]] std::uint64_t errors() const { return errors_.load(std::memory_order_relaxed); }

  private:
    mutable std::mutex mutex_;  // guards the pointer, not what it points to
    std::shared_ptr<const MetricsInput> input_;
    mutable std::atomic<std::uint64_t> errors_{0};
};

}  // namespace weir
