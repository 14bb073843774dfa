// The HTTP listener for Prometheus: GET /metrics on metrics.listen, 127.0.0.1 by default.
//
// Its threads inherit the CPUs of the thread that starts it: start it on the control core, after EAL.
#pragma once

#include <netinet/in.h>

#include <memory>
#include <string>
#include <vector>

#include "ctrl/metrics/collect_metrics.h"
#include "drivers/result.h"

namespace prometheus {
class Exposer;
}

namespace weir {

class PrometheusExporter {
  public:
    // `listen`: "ADDRESS:PORT", IPv4 (Debian's civetweb has no IPv6); port 0 takes a free one. The error says
    // what to change.
    static Result<std::unique_ptr<PrometheusExporter>> start(const std::string& listen);
    // Waits for an answer that is being given; else takes milliseconds.
    ~PrometheusExporter();
    PrometheusExporter(const PrometheusExporter&) = delete;
    PrometheusExporter& operator=(const PrometheusExporter&) = delete;

    // The control thread; the listener answers with the newest.
    void update(std::shared_ptr<const MetricsInput> input) { collector_->update(std::move(input)); }
    // The TCP port that it listens on.
    [[nodiscard]] int l4_port() const;

  private:
    PrometheusExporter();
    std::shared_ptr<MetricsCollector> collector_;  // the exposer holds a weak reference only
    std::unique_ptr<prometheus::Exposer> exposer_;
    sockaddr_in address_{};  // that it listens on
};

}  // namespace weir
