// What the metrics listener may see: a plain value that the control thread makes and never changes again.
// The listener's thread reads it and, beside it, only the workers' counters (relaxed atomics).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ctrl/kernel/kernel_stats.h"
#include "ctrl/metrics/counter_sums.h"
#include "ctrl/metrics/duration_histogram.h"
#include "ctrl/metrics/health_metrics.h"
#include "ctrl/world.h"
#include "dataplane/state/worker_counters.h"
#include "drivers/host_thread.h"

namespace weir {

// Names and ids. Made once for World::named_generation(), shared by the inputs that follow: a change of
// health leaves them as they are.
struct MetricsLabels {
    struct Service {
        std::string name;
        ServiceId id;
        ServiceSums base;
    };
    // One name; several ids while an old address of it drains.
    struct Backend {
        std::string pool, name;
        std::vector<std::pair<BackendId, BackendSums>> ids;  // with their bases
    };
    struct Pool {
        std::string name;
    };
    std::uint64_t named_generation = 0;
    bool with_backend_states = true;
    std::vector<Service> services;
    std::vector<Backend> backends;
    std::vector<Pool> pools;
    std::vector<std::string> snat_addresses;  // by SnatId
};

// Above this many backends their states are exported only with metrics.detail = "full".
inline constexpr std::size_t kMaxDetailedBackends = 2000;

// Precondition: a configuration is in force. The control thread.
[[nodiscard]] std::shared_ptr<const MetricsLabels> make_metrics_labels(const World& world);

struct ReloadStats {
    std::uint64_t succeeded = 0, refused = 0;
    bool last_successful = false;
    double last_success_time = 0;  // seconds since 1970
};

// One port's counters as the device gives them.
struct PortStatistics {
    std::string name;
    // The device's numbers stand under its first port. For its other VLANs only link_up is true.
    bool carries_device = true;
    std::uint64_t rx_packets = 0, tx_packets = 0, rx_bytes = 0, tx_bytes = 0;
    std::uint64_t rx_missed = 0, rx_no_mbuf = 0;
    bool link_up = false;
    std::uint64_t resets = 0;  // of the device, or it was made again
    std::uint32_t mtu = 0;     // bytes of an IP packet: what the port carries at present
    HostPortStats host;        // of its host interface
    std::vector<std::pair<std::string, std::uint64_t>> nic;  // extended statistics, DPDK's names
};

struct MetricsInput {
    std::string version, dpdk_version;
    std::shared_ptr<const MetricsLabels> labels;  // null before a configuration is in force
    std::uint64_t generation = 0;                 // and below, World's
    std::uint64_t checksum = 0;
    ReloadStats reloads;
    std::vector<PortStatistics> ports;
    std::vector<const WorkerCounters*> workers;  // outlive the exporter
    std::vector<std::uint64_t> flow_capacity;    // by worker
    std::vector<std::uint64_t> sticky_capacity;  // by worker
    std::uint64_t session_capacity = 0;          // of each worker; 0: no mode nat
    double tsc_hz = 1;
    DurationHistogram publish_durations;
    std::shared_ptr<const HealthMetrics> health;  // of these labels; null together with them
    std::optional<KernelStats> kernel;            // absent: no port has a host interface
};

}  // namespace weir
