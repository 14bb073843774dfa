// What probes have said of a backend so far, and how one more answer changes it: dampening by consecutive
// answers, as a pure function of the record, the answer and the thresholds (DESIGN.md section 9).
//
//   no verdict yet   the first success -> healthy; `unhealthy_threshold` failures in a row -> unhealthy
//   healthy          `unhealthy_threshold` failures in a row -> unhealthy
//   unhealthy        `healthy_threshold` successes in a row -> healthy
//
// An answer of the other kind begins the count anew (loxilb#1087 counted them all). Plain values; any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "ctrl/config/config.h"

namespace weir {

enum class HealthVerdict : std::uint8_t { none, healthy, unhealthy };

// Why a backend is unhealthy, in the words of AWS ELB.
enum class UnhealthyReason : std::uint8_t { timeout, response_code_mismatch, failed_health_checks };
inline constexpr std::array<std::string_view, 3> kUnhealthyReasonNames = {
    "Target.Timeout", "Target.ResponseCodeMismatch", "Target.FailedHealthChecks"};
constexpr std::string_view name_of(UnhealthyReason reason) noexcept {
    return kUnhealthyReasonNames[static_cast<std::size_t>(reason)];
}

struct HealthThresholds {
    unsigned healthy = 3, unhealthy = 2;  // at least 1
};

struct BackendHealth {
    HealthVerdict verdict = HealthVerdict::none;
    UnhealthyReason reason{};              // of the newest failure
    unsigned successes = 0, failures = 0;  // in a row; one of them is 0
    bool operator==(const BackendHealth&) const = default;
};

[[nodiscard]] constexpr BackendHealth after_success(BackendHealth health,
                                                    const HealthThresholds& thresholds) noexcept {
    health.failures = 0;
    if (health.successes < thresholds.healthy) ++health.successes;
    const unsigned needed = health.verdict == HealthVerdict::unhealthy ? thresholds.healthy : 1;
    if (health.successes >= needed) health.verdict = HealthVerdict::healthy;
    return health;
}

[[nodiscard]] constexpr BackendHealth after_failure(BackendHealth health, UnhealthyReason reason,
                                                    const HealthThresholds& thresholds) noexcept {
    health.successes = 0;
    health.reason = reason;
    if (health.failures < thresholds.unhealthy) ++health.failures;
    if (health.failures >= thresholds.unhealthy) health.verdict = HealthVerdict::unhealthy;
    return health;
}

}  // namespace weir
