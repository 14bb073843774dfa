#include "ctrl/commands/run_command.h"

#include <chrono>
#include <csignal>
#include <optional>
#include <utility>

#include "ctrl/config/hash_key_file.h"
#include "ctrl/config/read_config.h"
#include "ctrl/log.h"
#include "ctrl/running_weir.h"
#include "dataplane/tick_clock.h"

namespace weir {

namespace {

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

Result<void> run(const std::string& file, Config from_file, const Notify& notify) {
    auto start = load_start_config(std::move(from_file), notify);
    if (!start) return tl::make_unexpected(start.error());
    const Config config = start->effective.config();
    auto socket = std::exchange(start->socket, std::nullopt);
    const auto key = selection_key(config, notify);
    if (!key) return tl::make_unexpected(key.error());
    const double now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    // Asked once EAL runs: before that there is no TSC rate.
    const auto tick = [clock = std::optional<TickClock>()]() mutable {
        if (!clock) clock.emplace();
        return clock->now();
    };
    HealthMonitorOptions health{.tick = tick, .notify = notify};
    // Without a store the directory is not this weir's: another one may have it.
    if (start->store != nullptr) health.saved = load_saved_health(saved_health_file(config), now);
    auto monitor = std::make_unique<HealthMonitor>(std::move(health));
    auto appliance = Appliance::start(
        config, *key, notify,
        [m = monitor.get()](World& world, const ConfigDelta& delta) { m->assigned(world, delta); });
    if (!appliance) return tl::make_unexpected(appliance.error());
    RunningWeir weir(file, std::move(*appliance), std::move(monitor), std::move(*start), notify);
    const auto listening = weir.listen(config.metrics.value_or(MetricsConfig{}));
    // A listener that nobody asked for must not keep the appliance from running.
    if (!listening && config.metrics) return listening;
    if (!listening) notify(Severity::warning, listening.error().message);
    if (auto announced = weir.announce(); !announced) return announced;
    if (socket) weir.serve(std::move(*socket));
    weir.run();
    return {};
}

}  // namespace

int run_command(const std::string& file) {
    // A reader of the log that goes away must not end the appliance.
    std::signal(SIGPIPE, SIG_IGN);
    block_signals(true);
    const Notify notify = start_log();
    auto config = read_first_config(file, notify);
    if (!config) return 1;
    const auto done = run(file, std::move(*config), notify);
    if (done) return 0;
    notify(Severity::error, done.error().message);
    return static_cast<int>(done.error().cause);
}

}  // namespace weir
