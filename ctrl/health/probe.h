// What a probe found out: plain values.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

enum class ProbeOutcome : std::uint8_t {
    success,
    timeout,   // no answer
    mismatch,  // answered, and wrongly
    failed,    // refused, cut off, TLS, malformed
};
inline constexpr std::array<std::string_view, 4> kProbeOutcomeNames = {"success", "timeout", "mismatch",
                                                                       "failed"};
inline constexpr std::size_t kProbeOutcomes = kProbeOutcomeNames.size();

constexpr std::string_view name_of(ProbeOutcome outcome) noexcept {
    return kProbeOutcomeNames[static_cast<std::size_t>(outcome)];
}

// The reason code of AWS ELB, verbatim; of a success there is none.
constexpr std::string_view reason_of(ProbeOutcome outcome) noexcept {
    constexpr std::array<std::string_view, kProbeOutcomes> kReasons = {
        "", "Target.Timeout", "Target.ResponseCodeMismatch", "Target.FailedHealthChecks"};
    return kReasons[static_cast<std::size_t>(outcome)];
}

struct ProbeResult {
    ProbeOutcome outcome = ProbeOutcome::failed;
    std::string answer;  // in plain words: "HTTP 503", "connection refused", "no answer within 2s"
    std::chrono::nanoseconds took{0};
};

}  // namespace weir
