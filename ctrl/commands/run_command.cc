#include "ctrl/commands/run_command.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <systemd/sd-daemon.h>

#include <csignal>
#include <cstdio>
#include <optional>

#include "ctrl/announce/start_presence.h"
#include "ctrl/appliance.h"
#include "ctrl/config/devices.h"
#include "ctrl/config/hash_key_file.h"
#include "ctrl/config/read_config.h"
#include "ctrl/control_loop.h"
#include "ctrl/kernel/follow_kernel.h"
#include "ctrl/log.h"
#include "ctrl/metrics/prometheus_exporter.h"
#include "ctrl/reload.h"
#include "ctrl/version.h"

namespace weir {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{10};
// Devices may answer through an admin queue, slowly: once a second, never from a scrape.
constexpr milliseconds kStatisticsPeriod{1000};

// The signals that weir answers. Blocked until somebody listens and once nobody does any more, so that one
// that comes while weir starts or ends waits instead of killing it half way. Threads inherit the mask: only
// the main thread ever sees them.
void set_blocked(bool blocked) {
    sigset_t answered;
    sigemptyset(&answered);
    for (const int signal : {SIGHUP, SIGINT, SIGTERM}) sigaddset(&answered, signal);
    pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &answered, nullptr);
}

// An error has been logged, a line for each diagnostic.
std::optional<Config> read_first_config(const std::string& file, const Notify& notify) {
    ConfigResult read = read_config(file);
    for (const Diagnostic& diagnostic : read.diagnostics) {
        const bool error = diagnostic.severity == Diagnostic::Severity::error;
        notify(error ? Severity::error : Severity::warning, diagnostic.text());
    }
    return std::move(read.config);
}

Result<HashKey> selection_key(const Config& config, const Notify& notify) {
    const std::string& file = config.dataplane.hash_key_file;
    if (file.empty()) {
        notify(Severity::warning,
               "dataplane.hash_key_file is not set: backends are selected with the zero key, which everybody "
               "knows");
        return HashKey::zero();
    }
    const auto key = load_or_create_hash_key(file);
    if (!key) return tl::make_unexpected(key.error());
    if (!key->warning.empty()) notify(Severity::warning, key->warning);
    return HashKey(key->secret);
}

PortStatistics statistics_of(const Port& port, const PortKeeper& keeper, const HostThread& host) {
    PortStatistics statistics;
    statistics.name = port.name();
    statistics.link_up = keeper.link_up(port.index());
    statistics.resets = keeper.resets(port.index());
    statistics.mtu = port.mtu();
    statistics.host = host.stats(port.index());
    statistics.carries_device = port.carries_device();
    if (!statistics.carries_device) return statistics;
    const PortStats stats = port.stats();
    statistics.rx_packets = stats.rx_packets;
    statistics.tx_packets = stats.tx_packets;
    statistics.rx_bytes = stats.rx_bytes;
    statistics.tx_bytes = stats.tx_bytes;
    statistics.rx_missed = stats.rx_missed;
    statistics.rx_no_mbuf = stats.rx_no_mbuf;
    statistics.nic = port.nic_counters();
    return statistics;
}

// The control core of a running appliance.
class RunningWeir {
  public:
    RunningWeir(std::string file, std::unique_ptr<Appliance> appliance, Notify notify)
        : notify_(std::move(notify)),
          appliance_(std::move(appliance)),
          reloader_(appliance_->world(), std::move(file)) {
        reloader_.started();
        ports_.resize(appliance_->ports().size());
        read_ports();
        if (appliance_->kernel() != nullptr)
            follower_.emplace(*appliance_->kernel(), appliance_->world(), loop_);
    }

    Result<void> listen(const MetricsConfig& metrics) {
        auto exporter = PrometheusExporter::start(metrics.listen);
        if (!exporter) return tl::make_unexpected(exporter.error());
        exporter_ = std::move(*exporter);
        publish_metrics();
        notify_(Severity::info, fmt::format("metrics on http://{}/metrics", metrics.listen));
        return {};
    }

    // From here on the network hears of the VIPs.
    Result<void> announce() {
        auto presence = start_presence(
            {.ports = ports_.size(),
             .mac = [this](PortId port) { return MacAddress{appliance_->ports()[index(port)].mac()}; },
             .host = &appliance_->host_side().thread(),
             .route_interface = appliance_->host_side().first_interface(),
             .notify = notify_});
        if (!presence) return tl::make_unexpected(presence.error());
        presence_.emplace(std::move(*presence));
        for (std::size_t i = 0; i < ports_.size(); ++i) tell_of_port(i);
        return {};
    }

    // Until SIGTERM or SIGINT.
    void run() {
        loop_.on_signal(SIGHUP, [this] { reload(); });
        for (const int signal : {SIGTERM, SIGINT}) loop_.on_signal(signal, [this] { loop_.stop(); });
        loop_.every(kTick, [this] { tick(); });
        PortKeeper& ports = appliance_->port_keeper();
        if (ports.fd() >= 0) loop_.on_readable(ports.fd(), [this] { keep_ports(); });
        loop_.every(kStatisticsPeriod, [this] { read_statistics(); });
        sd_notify(0, "READY=1");
        notify_(Severity::info, fmt::format("{} is running: {} worker(s), {} port(s)", version_text(),
                                            appliance_->counters().size(), ports_.size()));
        set_blocked(false);
        loop_.run();
        set_blocked(true);
        sd_notify(0, "STOPPING=1");
        notify_(Severity::info, "stopping");
    }

  private:
    void reload() {
        sd_notify(0, "RELOADING=1");
        reloader_.request();
        reloader_.poll();
        appliance_->host_side().follow(*appliance_->world().config());
        if (follower_) follower_->configured();
        sd_notify(0, "READY=1");
        publish_metrics();
    }
    void tick() {
        appliance_->world().tick();
        presence_->tick(appliance_->world(), std::chrono::steady_clock::now());
        Eal::manage_timers();
        keep_ports();
    }
    void keep_ports() {
        PortKeeper& keeper = appliance_->port_keeper();
        if (!keeper.poll()) return;
        for (std::size_t i = 0; i < ports_.size(); ++i) tell_of_port(i);
        publish_metrics();
    }
    // Of its link, its MAC and its MTU: to the kernel, the network and the metrics.
    void tell_of_port(std::size_t i) {
        const PortKeeper& keeper = appliance_->port_keeper();
        const Port& port = appliance_->ports()[i];
        ports_[i].link_up = keeper.link_up(i);
        ports_[i].resets = keeper.resets(i);
        ports_[i].mtu = port.mtu();
        appliance_->host_side().follow(port, keeper.link_up(i));
        if (appliance_->kernel() != nullptr)
            appliance_->kernel()->set_link(static_cast<PortId>(i), keeper.link_up(i));
        // Nobody listens behind a capture or a ring.
        const bool heard = is_network(appliance_->world().config()->ports[i].device);
        presence_->set_link(static_cast<PortId>(i), heard && keeper.link_up(i),
                            std::chrono::steady_clock::now());
    }
    void read_statistics() {
        read_ports();
        for (std::size_t i = 0; i < ports_.size(); ++i) tell_of_port(i);
        if (follower_) follower_->each_second();
        publish_metrics();
    }
    void read_ports() {
        const PortKeeper& keeper = appliance_->port_keeper();
        for (std::size_t i = 0; i < ports_.size(); ++i) {
            Port& port = appliance_->ports()[i];
            ports_[i] = statistics_of(port, keeper, appliance_->host_side().thread());
            if (port.is_open()) port.events().look_at(ports_[i].nic);
        }
    }
    void publish_metrics() {
        if (!exporter_) return;
        const World& world = appliance_->world();
        if (!labels_ || labels_->named_generation != world.named_generation())
            labels_ = make_metrics_labels(world);
        auto input = std::make_shared<MetricsInput>();
        input->version = weir_version();
        input->dpdk_version = dpdk_version();
        input->labels = labels_;
        input->generation = world.generation();
        input->checksum = world.checksum();
        input->reloads = reloader_.stats();
        input->ports = ports_;
        input->workers.assign(appliance_->counters().begin(), appliance_->counters().end());
        input->flow_capacity.assign(appliance_->counters().size(), appliance_->flow_capacity());
        input->sticky_capacity.assign(appliance_->counters().size(), appliance_->sticky_capacity());
        input->tsc_hz = static_cast<double>(rte_get_tsc_hz());
        input->publish_durations = world.publish_durations();
        if (follower_) input->kernel = follower_->stats();
        exporter_->update(std::move(input));
    }

    Notify notify_;
    std::unique_ptr<Appliance> appliance_;
    Reloader reloader_;
    ControlLoop loop_;
    std::optional<KernelFollower> follower_;
    std::vector<PortStatistics> ports_;
    std::optional<VipPresence> presence_;  // from announce() on
    std::shared_ptr<const MetricsLabels> labels_;
    std::unique_ptr<PrometheusExporter> exporter_;
};

Result<void> run(const std::string& file, const Config& config, const Notify& notify) {
    const auto key = selection_key(config, notify);
    if (!key) return tl::make_unexpected(key.error());
    auto appliance = Appliance::start(config, *key, notify);
    if (!appliance) return tl::make_unexpected(appliance.error());
    RunningWeir weir(file, std::move(*appliance), notify);
    const auto listening = weir.listen(config.metrics.value_or(MetricsConfig{}));
    // A listener that nobody asked for must not keep the appliance from running.
    if (!listening && config.metrics) return listening;
    if (!listening) notify(Severity::warning, listening.error().message);
    if (auto announced = weir.announce(); !announced) return announced;
    weir.run();
    return {};
}

}  // namespace

int run_command(const std::string& file) {
    // A reader of the log that goes away must not end the appliance.
    std::signal(SIGPIPE, SIG_IGN);
    set_blocked(true);
    const Notify notify = start_log();
    const auto config = read_first_config(file, notify);
    if (!config) return 1;
    const auto done = run(file, *config, notify);
    if (done) return 0;
    notify(Severity::error, done.error().message);
    return static_cast<int>(done.error().cause);
}

}  // namespace weir
