#include "ctrl/running_weir.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <systemd/sd-daemon.h>

#include <csignal>

#include "ctrl/announce/start_presence.h"
#include "ctrl/config/devices.h"
#include "ctrl/version.h"

namespace weir {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{10};
// Devices may answer through an admin queue, slowly: once a second, never from a scrape.
constexpr milliseconds kStatisticsPeriod{1000};
// Results that come together change the tables once.
constexpr milliseconds kResultsTogether{2};
constexpr std::chrono::seconds kSavePeriod{30};

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

}  // namespace

void block_signals(bool blocked) {
    sigset_t answered;
    sigemptyset(&answered);
    for (const int signal : {SIGHUP, SIGINT, SIGTERM}) sigaddset(&answered, signal);
    pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &answered, nullptr);
}

RunningWeir::RunningWeir(std::string file, std::unique_ptr<Appliance> appliance,
                         std::unique_ptr<HealthMonitor> monitor, StartConfig start, Notify notify)
    : notify_(std::move(notify)),
      appliance_(std::move(appliance)),
      prober_(loop_, prober_options()),
      monitor_(std::move(monitor)),
      has_state_directory_(start.store != nullptr),
      queue_(queue_parts(std::move(start)), std::move(file)) {
    ports_.resize(appliance_->ports().size());
    read_ports();
    if (appliance_->kernel() != nullptr) follower_.emplace(*appliance_->kernel(), appliance_->world(), loop_);
}

ChangeQueue::Parts RunningWeir::queue_parts(StartConfig start) {
    return {.world = appliance_->world(),
            .loop = loop_,
            .notify = notify_,
            .effective = std::move(start.effective),
            .store = std::move(start.store),
            .why_no_journal = std::move(start.why_no_journal),
            .reload_begins = [] { sd_notify(0, "RELOADING=1"); },
            .applied = [this] { applied(); }};
}

Result<void> RunningWeir::listen(const MetricsConfig& metrics) {
    auto exporter = PrometheusExporter::start(metrics.listen);
    if (!exporter) return tl::make_unexpected(exporter.error());
    exporter_ = std::move(*exporter);
    publish_metrics();
    notify_(Severity::info, fmt::format("metrics on http://{}/metrics", metrics.listen));
    return {};
}

Result<void> RunningWeir::announce() {
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

void RunningWeir::serve(ControlSocket socket) {
    const World& world = appliance_->world();
    notify_(Severity::info, fmt::format("control socket {}", socket.path()));
    control_ = std::make_unique<ControlPlane>(
        std::move(socket),
        ShowSources{.world = world,
                    .backends = [this, &world] { return monitored_backends(*monitor_, world); },
                    .ports = [this] { return std::span<const PortStatistics>(ports_); },
                    .flow_capacity = appliance_->flow_capacity()},
        queue_, loop_);
}

void RunningWeir::run() {
    loop_.on_signal(SIGHUP, [this] { queue_.reload_by_signal(); });
    for (const int signal : {SIGTERM, SIGINT}) loop_.on_signal(signal, [this] { loop_.stop(); });
    loop_.every(kTick, [this] { tick(); });
    PortKeeper& ports = appliance_->port_keeper();
    if (ports.fd() >= 0) loop_.on_readable(ports.fd(), [this] { keep_ports(); });
    loop_.every(kStatisticsPeriod, [this] { read_statistics(); });
    watch_health();
    sd_notify(0, "READY=1");
    notify_(Severity::info, fmt::format("{} is running: {} worker(s), {} port(s)", version_text(),
                                        appliance_->counters().size(), ports_.size()));
    block_signals(false);
    loop_.run();
    block_signals(true);
    save_health();
    sd_notify(0, "STOPPING=1");
    notify_(Severity::info, "stopping");
}

void RunningWeir::applied() {
    appliance_->host_side().follow(*appliance_->world().config());
    if (follower_) follower_->configured();
    sd_notify(0, "READY=1");
    publish_metrics();
}

void RunningWeir::watch_health() {
    monitor_->on_news([this] {
        if (std::exchange(flush_is_due_, true)) return;
        loop_.after(kResultsTogether, [this] {
            flush_is_due_ = false;
            monitor_->flush(appliance_->world());
        });
    });
    monitor_->start(probes_);
}

// What has changed in the monitor reaches the announcements.
void RunningWeir::follow_health() {
    if (std::exchange(followed_health_, monitor_->version()) == monitor_->version()) return;
    presence_->hide(monitor_->withdrawn_vips(*appliance_->world().config()));
}

// The kernel knows of a neighbour that is gone long before a probe's socket hears of it.
ProberOptions RunningWeir::prober_options() {
    return {.most_in_flight = 0,
            .explain_silence = [this](const IpAddress& backend) -> std::string {
                const KernelView* kernel = appliance_->kernel();
                if (kernel == nullptr) return "";
                const KernelNeighbor* neighbor = kernel->ways().find(backend).neighbor;
                return neighbor != nullptr && neighbor->failed ? "no ARP or ND answer: host down?" : "";
            },
            .ports = &appliance_->probe_ports()};
}

// What it could not send for want of something of weir's own is nobody's fault but weir's.
void RunningWeir::look_at_prober() {
    const ProberStatistics statistics = prober_.statistics();
    const bool lacks = statistics.unsent != std::exchange(unsent_probes_, statistics.unsent);
    if (lacks) notify_(Severity::warning, fmt::format("probes cannot be sent: {}", statistics.unsent_why));
    monitor_->set_can_probe(!lacks);
}

void RunningWeir::save_health() {
    if (!has_state_directory_) return;  // another weir may have it
    saved_at_ = std::chrono::steady_clock::now();
    const auto stored =
        store_saved_health(saved_health_file(*appliance_->world().config()), monitor_->save());
    if (!stored && !std::exchange(cannot_save_, true))
        notify_(Severity::warning, fmt::format("{}; a restart will begin without knowing who was healthy",
                                               stored.error().message));
}

void RunningWeir::tick() {
    appliance_->world().tick();
    monitor_->tick(appliance_->world());
    follow_health();
    presence_->tick(appliance_->world(), std::chrono::steady_clock::now());
    Eal::manage_timers();
    keep_ports();
}

void RunningWeir::keep_ports() {
    PortKeeper& keeper = appliance_->port_keeper();
    if (!keeper.poll()) return;
    for (std::size_t i = 0; i < ports_.size(); ++i) tell_of_port(i);
    publish_metrics();
}

void RunningWeir::tell_of_port(std::size_t i) {
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
    presence_->set_link(static_cast<PortId>(i), heard && keeper.link_up(i), std::chrono::steady_clock::now());
}

void RunningWeir::read_statistics() {
    read_ports();
    for (std::size_t i = 0; i < ports_.size(); ++i) tell_of_port(i);
    rss_watch_.look(ports_, appliance_->counters(), notify_);
    appliance_->host_side().restore_probe_rules();
    if (follower_) follower_->each_second();
    if (control_) control_->each_second();
    look_at_prober();
    publish_metrics();
    if (std::chrono::steady_clock::now() - saved_at_ >= kSavePeriod) save_health();
}

void RunningWeir::read_ports() {
    const PortKeeper& keeper = appliance_->port_keeper();
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        Port& port = appliance_->ports()[i];
        ports_[i] = statistics_of(port, keeper, appliance_->host_side().thread());
        if (port.is_open()) port.events().look_at(ports_[i].nic);
    }
}

void RunningWeir::publish_metrics() {
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
    input->reloads = queue_.reloads();
    input->ports = ports_;
    input->workers.assign(appliance_->counters().begin(), appliance_->counters().end());
    input->flow_capacity.assign(appliance_->counters().size(), appliance_->flow_capacity());
    input->sticky_capacity.assign(appliance_->counters().size(), appliance_->sticky_capacity());
    input->session_capacity = appliance_->session_capacity();
    input->tsc_hz = static_cast<double>(rte_get_tsc_hz());
    input->publish_durations = world.publish_durations();
    input->health = make_health_metrics(*labels_, *monitor_, prober_.statistics());
    if (follower_) input->kernel = follower_->stats();
    exporter_->update(std::move(input));
}

}  // namespace weir
