// SIGHUP's route: read -> validate -> diff -> compile -> publish, or keep the old
// configuration and say why.
//
// request() may be called from a signal handler or any thread, any number of times: requests coalesce, and
// the next poll() reads the file as it is then. Everything else: the control thread.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/metrics/metrics_input.h"
#include "ctrl/world.h"
#include "drivers/result.h"

namespace weir {

// What a reload would do, or did.
struct ReloadReport {
    std::vector<std::string> changes;   // sentences; empty: the file says what is in force already
    std::vector<std::string> warnings;  // FILE:LINE: warning: ...
    std::uint64_t generation = 0;       // in force once World::in_force() says so; 0 of a dry run
};

class Reloader {
  public:
    // `path`: the file, read again at each reload. `read` is read_config unless a test has another idea.
    Reloader(World& world, std::string path, std::function<ConfigResult(const std::string&)> read = {});

    // The next configuration. An error carries every diagnostic, one a line; each has been
    // given to World's notify too, and the old configuration is in force as before. `dry_run` stops before
    // compile and counts nothing.
    Result<ReloadReport> reload(bool dry_run = false);

    // The configuration that weir started with is in force: what the metrics call the last success.
    void started();

    void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
    // Reloads if anyone has asked since the last time. Returns whether it did, successful or not.
    bool poll();

    [[nodiscard]] const ReloadStats& stats() const { return stats_; }

  private:
    Result<ReloadReport> attempt(bool dry_run);
    Result<Config> read_valid(ReloadReport& report);

    World& world_;
    std::string path_;
    std::function<ConfigResult(const std::string&)> read_;
    std::atomic<bool> requested_{false};
    ReloadStats stats_;
};

}  // namespace weir
