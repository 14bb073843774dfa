// KernelStats -> Prometheus' metric families, for collect_metrics().
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "ctrl/kernel/kernel_stats.h"

namespace weir {

void add_kernel_metrics(const KernelStats& kernel, std::vector<prometheus::MetricFamily>& families);

}  // namespace weir
