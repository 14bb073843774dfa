// How a packet reaches its backend. DESIGN: "Forwarding modes".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weir {

enum class ForwardingMode : std::uint8_t { dsr, ipip, gue, gre, geneve, nat, dnat };

inline constexpr std::array<std::string_view, 7> kForwardingModeNames = {"dsr",    "ipip", "gue", "gre",
                                                                         "geneve", "nat",  "dnat"};
inline constexpr std::size_t kForwardingModes = kForwardingModeNames.size();

// What is built so far; the configuration refuses the others by name.
constexpr bool is_built(ForwardingMode mode) noexcept {
    return mode == ForwardingMode::dsr || mode == ForwardingMode::ipip || mode == ForwardingMode::gue ||
           mode == ForwardingMode::nat || mode == ForwardingMode::dnat;
}

// The backend gets what is sent to its own address, and its replies come back through weir.
constexpr bool translates(ForwardingMode mode) noexcept {
    return mode == ForwardingMode::nat || mode == ForwardingMode::dnat;
}

constexpr std::string_view name_of(ForwardingMode mode) noexcept {
    return kForwardingModeNames[static_cast<std::size_t>(mode)];
}

constexpr std::optional<ForwardingMode> forwarding_mode_of(std::string_view name) noexcept {
    for (std::size_t i = 0; i < kForwardingModes; ++i)
        if (kForwardingModeNames[i] == name) return static_cast<ForwardingMode>(i);
    return std::nullopt;
}

}  // namespace weir
