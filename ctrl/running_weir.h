// The control core of a running appliance: what happens at which event, on the one loop.
//
// start -> listen -> announce -> serve -> run. The main thread, which must be the one that started the
// appliance.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ctrl/announce/vip_presence.h"
#include "ctrl/api/control_plane.h"
#include "ctrl/appliance.h"
#include "ctrl/control_loop.h"
#include "ctrl/health/monitor.h"
#include "ctrl/health/probe_source.h"
#include "ctrl/health/prober.h"
#include "ctrl/kernel/follow_kernel.h"
#include "ctrl/metrics/metrics_input.h"
#include "ctrl/metrics/prometheus_exporter.h"
#include "ctrl/notify.h"
#include "ctrl/rss_watch.h"
#include "drivers/result.h"

namespace weir {

class RunningWeir {
  public:
    // `file`: the configuration's, read again at each reload. `appliance` runs what `start` says, and
    // `monitor` has followed its World from the beginning.
    RunningWeir(std::string file, std::unique_ptr<Appliance> appliance,
                std::unique_ptr<HealthMonitor> monitor, StartConfig start, Notify notify);

    Result<void> listen(const MetricsConfig& metrics);
    // From here on the network hears of the VIPs.
    Result<void> announce();
    // From here on weirctl is answered.
    void serve(ControlSocket socket);
    // Until SIGTERM or SIGINT. Precondition: announce() has succeeded.
    void run();

  private:
    [[nodiscard]] ChangeQueue::Parts queue_parts(StartConfig start);
    // A configuration is in force, or a reload was refused.
    void applied();
    void tick();
    void keep_ports();
    // Of its link, its MAC and its MTU: to the kernel, the network and the metrics.
    void tell_of_port(std::size_t i);
    // Probes from here on.
    void watch_health();
    void follow_health();
    void save_health();
    void look_at_prober();
    [[nodiscard]] ProberOptions prober_options();
    void read_statistics();
    void read_ports();
    void publish_metrics();

    Notify notify_;
    std::unique_ptr<Appliance> appliance_;
    ControlLoop loop_;
    Prober prober_;
    ProberSource probes_{prober_};
    std::unique_ptr<HealthMonitor> monitor_;
    std::uint64_t followed_health_ = 0;  // version of the monitor
    std::uint64_t unsent_probes_ = 0;    // as of the last second
    bool flush_is_due_ = false;
    bool cannot_save_ = false;  // and has said so
    std::optional<KernelFollower> follower_;
    RssWatch rss_watch_;
    std::vector<PortStatistics> ports_;
    std::optional<VipPresence> presence_;  // from announce() on
    std::shared_ptr<const MetricsLabels> labels_;
    std::chrono::steady_clock::time_point saved_at_{};
    std::unique_ptr<PrometheusExporter> exporter_;
    const bool has_state_directory_;
    ChangeQueue queue_;
    std::unique_ptr<ControlPlane> control_;  // from serve() on; null: without a socket
};

// The signals that weir answers. Blocked until somebody listens and once nobody does any more, so that one
// that comes while weir starts or ends waits instead of killing it half way. Threads inherit the mask: only
// the main thread ever sees them.
void block_signals(bool blocked);

}  // namespace weir
