// Health as the metrics listener may see it: a plain value that the control thread makes when health has
// changed, shared by the inputs until it changes again.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <prometheus/metric_family.h>

#include "ctrl/backend_state.h"
#include "ctrl/health/monitor.h"
#include "ctrl/health/prober_statistics.h"
#include "ctrl/metrics/duration_histogram.h"

namespace weir {

struct MetricsLabels;

struct HealthMetrics {
    std::vector<BackendState> states;                               // as MetricsLabels::backends
    std::vector<std::array<std::uint32_t, kBackendStates>> counts;  // by state; as MetricsLabels::pools
    std::vector<PoolHealth> pools;                                  // as MetricsLabels::pools
    HealthMonitor::Transitions transitions;
    DurationHistogram reactions;
    ProberStatistics probes;
};

[[nodiscard]] std::shared_ptr<const HealthMetrics> make_health_metrics(const MetricsLabels& labels,
                                                                       const HealthMonitor& monitor,
                                                                       ProberStatistics probes);
void add_health_metrics(const MetricsLabels& labels, const HealthMetrics& health,
                        std::vector<prometheus::MetricFamily>& families);

}  // namespace weir
