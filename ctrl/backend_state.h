// The state of a backend as operators read it: the words and reasons of AWS ELB, verbatim (DESIGN.md
// section 9), as a pure function of what is known of the backend. Plain values; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ctrl/health/health.h"

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
    std::string_view reason = "Target.HealthCheckDisabled";  // empty: none, as of a healthy one
    bool operator==(const BackendStatus&) const = default;
};

// How far a backend's leaving has got. It leaves by removal, or by `drain` while it stays registered.
enum class Leaving : std::uint8_t { no, deregistering, deregistered, stopping, stopped };

struct BackendFacts {
    Leaving leaving = Leaving::no;
    bool pool_is_used = true;  // by a service
    bool has_check = true;
    bool can_be_probed = true;    // false: weir itself lacks what it takes (descriptors, memory)
    bool in_every_worker = true;  // the snapshot with its registration
    bool keeps_flows = false;     // unhealthy, and within the pool's unhealthy_draining
    BackendHealth health{};
};

[[nodiscard]] constexpr BackendStatus backend_status(const BackendFacts& facts) noexcept {
    using enum BackendState;
    switch (facts.leaving) {
        case Leaving::no:
            break;
        case Leaving::deregistering:
        case Leaving::stopping:
            return {draining, "Target.DeregistrationInProgress"};
        case Leaving::deregistered:
            return {unused, "Target.NotRegistered"};
        case Leaving::stopped:
            return {unused, "Target.InvalidState"};
    }
    if (!facts.pool_is_used) return {unused, "Target.NotInUse"};
    if (!facts.has_check) return {unavailable, "Target.HealthCheckDisabled"};
    switch (facts.health.verdict) {
        case HealthVerdict::healthy:
            return {healthy, ""};
        case HealthVerdict::unhealthy:
            return {facts.keeps_flows ? unhealthy_draining : unhealthy, name_of(facts.health.reason)};
        case HealthVerdict::none:
            break;
    }
    if (!facts.can_be_probed) return {unavailable, "Elb.InternalError"};
    return {initial, facts.in_every_worker ? "Elb.InitialHealthChecking" : "Elb.RegistrationInProgress"};
}

}  // namespace weir
