// Sessions of mode nat, by worker.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "ctrl/metrics/metrics_input.h"

namespace weir {

// Nothing, where no worker has room for a session.
void add_nat_metrics(const MetricsInput& input, std::vector<prometheus::MetricFamily>& families);

}  // namespace weir
