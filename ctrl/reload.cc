#include "ctrl/reload.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "ctrl/config/diff_config.h"
#include "ctrl/config/read_config.h"

namespace weir {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

double unix_time() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Reloader::Reloader(World& world, std::string path, std::function<ConfigResult(const std::string&)> read)
    : world_(world), path_(std::move(path)), read_(std::move(read)) {
    if (!read_) read_ = read_config;
}

// read -> validate. Warnings go to the report, errors to the one sentence per line that is returned.
Result<Config> Reloader::read_valid(ReloadReport& report) {
    ConfigResult result = read_(path_);
    world_.reached(ReloadStep::read);
    std::vector<std::string> errors;
    for (const Diagnostic& diagnostic : result.diagnostics) {
        const bool is_error = diagnostic.severity == Diagnostic::Severity::error;
        (is_error ? errors : report.warnings).push_back(diagnostic.text());
    }
    if (!result.config.has_value() || !errors.empty())
        return operator_error(errors.empty() ? fmt::format("{}: cannot be read", path_)
                                             : fmt::format("{}", fmt::join(errors, "\n")));
    world_.reached(ReloadStep::validated);
    return std::move(*result.config);
}

Result<ReloadReport> Reloader::attempt(bool dry_run) {
    ReloadReport report;
    auto config = read_valid(report);
    for (const std::string& warning : report.warnings) world_.notify(Severity::warning, warning);
    if (!config) return tl::make_unexpected(config.error());
    if (world_.config() != nullptr) {
        const ConfigDiff diff = diff_config(*world_.config(), *config);
        if (!diff.needs_restart.empty())
            return operator_error(
                fmt::format("{}: restart weir to change {}", path_, fmt::join(diff.needs_restart, "; ")));
        report.changes = diff.changes;
    }
    if (dry_run) return report;
    const auto applied = world_.apply(std::move(*config));
    if (!applied) return tl::make_unexpected(applied.error());
    report.generation = applied->generation;
    world_.notify(
        Severity::info,
        fmt::format("{}: generation {} compiled in {:.1f} ms and published in {:.2f} ms ({} pools and "
                    "{} backends made anew)",
                    path_, applied->generation, Milliseconds(applied->compile_time).count(),
                    Milliseconds(applied->publish_time).count(), applied->work.pools, applied->work.records));
    return report;
}

Result<ReloadReport> Reloader::reload(bool dry_run) {
    auto report = attempt(dry_run);
    if (dry_run) return report;
    stats_.last_successful = report.has_value();
    if (report) {
        ++stats_.succeeded;
        stats_.last_success_time = unix_time();
        for (const std::string& change : report->changes) world_.notify(Severity::info, change);
        return report;
    }
    ++stats_.refused;
    const std::string& message = report.error().message;
    for (std::size_t begin = 0; begin <= message.size();) {
        const std::size_t end = std::min(message.find('\n', begin), message.size());
        world_.notify(Severity::error, message.substr(begin, end - begin));
        begin = end + 1;
    }
    if (world_.config() != nullptr)
        world_.notify(Severity::error,
                      fmt::format("{}: refused; generation {} stays in force", path_, world_.generation()));
    return report;
}

void Reloader::started() {
    stats_.last_successful = true;
    stats_.last_success_time = unix_time();
}

bool Reloader::poll() {
    if (!requested_.exchange(false, std::memory_order_relaxed)) return false;
    (void)reload();
    return true;
}

}  // namespace weir
