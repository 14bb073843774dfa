#include "ctrl/api/backend_directory.h"

#include <string_view>

#include "ctrl/tables/sweep_view.h"

namespace weir {
namespace {

// Where no probe has anything to say, what the state means.
std::string_view meaning_of(const BackendStatus& status) {
    using enum BackendState;
    switch (status.state) {
        case initial:
            return "no probe has been answered yet";
        case draining:
            return "known flows go on, it gets no new ones";
        case unavailable:
            return status.reason == "Target.HealthCheckDisabled" ? "no health check; it gets traffic"
                                                                 : "weir lacks what it takes to probe it";
        case unused:
            if (status.reason == "Target.NotInUse") return "no service uses its pool";
            return status.reason == "Target.InvalidState" ? "drained; weirctl backend enable takes it back"
                                                          : "removed";
        case healthy:
        case unhealthy:
        case unhealthy_draining:
            break;
    }
    return "";
}

bool probes_speak(BackendState state) {
    return state == BackendState::healthy || state == BackendState::unhealthy ||
           state == BackendState::unhealthy_draining || state == BackendState::initial;
}

}  // namespace

std::vector<BackendRow> monitored_backends(const HealthMonitor& monitor, const World& world) {
    const SweepView workers(world.workers());
    std::vector<BackendRow> rows;
    for (MonitoredBackend& backend : monitor.rows()) {
        BackendRow& row = rows.emplace_back();
        row.pool = std::move(backend.pool);
        row.name = std::move(backend.name);
        row.address = backend.address;
        row.port = backend.port;
        row.zone = std::move(backend.zone);
        row.weight = backend.weight;
        row.state = name_of(backend.status.state);
        row.reason = backend.status.reason;
        const bool has_answer = probes_speak(backend.status.state) && !backend.description.empty();
        row.description =
            has_answer ? std::move(backend.description) : std::string(meaning_of(backend.status));
        row.since = backend.since;
        if (backend.id != kNoBackend) row.active_flows = workers.active_flows(backend.id);
    }
    return rows;
}

}  // namespace weir
