// Builds one metric family, the way Prometheus' client wants it.
#pragma once

#include <prometheus/metric_family.h>

#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ctrl/metrics/duration_histogram.h"

namespace weir {

class FamilyBuilder {
  public:
    using Labels = std::initializer_list<std::pair<const char*, std::string_view>>;

    // `help`: one line (Prometheus' text format escapes nothing in it for us).
    static FamilyBuilder counter(std::string_view name, std::string_view help) {
        return FamilyBuilder(name, help, prometheus::MetricType::Counter);
    }
    static FamilyBuilder gauge(std::string_view name, std::string_view help) {
        return FamilyBuilder(name, help, prometheus::MetricType::Gauge);
    }
    static FamilyBuilder histogram(std::string_view name, std::string_view help) {
        return FamilyBuilder(name, help, prometheus::MetricType::Histogram);
    }
    // Exact up to 2^53.
    void add(Labels labels, std::uint64_t value) { add(labels, static_cast<double>(value)); }
    void add(Labels labels, double value) {
        prometheus::ClientMetric& metric = labelled(labels);
        if (family_.type == prometheus::MetricType::Counter)
            metric.counter.value = value;
        else
            metric.gauge.value = value;
    }
    void add(Labels labels, const DurationHistogram& histogram) {
        prometheus::ClientMetric& metric = labelled(labels);
        std::uint64_t cumulative = 0;
        for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
            cumulative += histogram.counts[i];
            metric.histogram.bucket.push_back({cumulative, i < DurationHistogram::kBounds.size()
                                                               ? DurationHistogram::kBounds[i]
                                                               : std::numeric_limits<double>::infinity()});
        }
        metric.histogram.sample_count = cumulative;
        metric.histogram.sample_sum = histogram.sum;
    }
    // A family without metrics is left out: it would say nothing.
    void finish(std::vector<prometheus::MetricFamily>& families) {
        if (!family_.metric.empty()) families.push_back(std::move(family_));
    }

  private:
    FamilyBuilder(std::string_view name, std::string_view help, prometheus::MetricType type) {
        family_.name = "weir_";
        family_.name += name;
        family_.help = help;
        family_.type = type;
    }
    prometheus::ClientMetric& labelled(Labels labels) {
        prometheus::ClientMetric& metric = family_.metric.emplace_back();
        for (const auto& [name, value] : labels) metric.label.push_back({name, std::string(value)});
        return metric;
    }
    prometheus::MetricFamily family_;
};

}  // namespace weir
