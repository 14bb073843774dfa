// The state of a backend as operators read it: the words and reasons of AWS ELB, verbatim (DESIGN.md
// section 9). A plain value; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ctrl/tables/id_registry.h"

namespace weir {

enum class BackendState : std::uint8_t {
    initial,
    healthy,
    unhealthy,
    unhealthy_draining,
    draining,
    unused,
    unavailable,
};

inline constexpr std::array<std::string_view, 7> kBackendStateNames = {
    "initial", "healthy", "unhealthy", "unhealthy.draining", "draining", "unused", "unavailable"};
inline constexpr std::size_t kBackendStates = kBackendStateNames.size();

constexpr std::string_view name_of(BackendState state) noexcept {
    return kBackendStateNames[static_cast<std::size_t>(state)];
}

struct BackendStatus {
    BackendState state = BackendState::unavailable;
    std::string_view reason = "Target.HealthCheckDisabled";
};

// As far as it does not depend on probes.
constexpr BackendStatus backend_status(IdPhase phase, bool pool_is_used) noexcept {
    if (phase == IdPhase::draining) return {BackendState::draining, "Target.DeregistrationInProgress"};
    if (!pool_is_used) return {BackendState::unused, "Target.NotInUse"};
    return {BackendState::unavailable, "Target.HealthCheckDisabled"};
}

}  // namespace weir
