// The VLAN ids that tell a port's frames on its device: none, one (802.1Q), or two (802.1ad, "QinQ").
#pragma once

#include <compare>
#include <cstdint>

namespace weir {

struct VlanTags {
    std::uint16_t outer = 0;  // the first one on the wire; 0: untagged
    std::uint16_t inner = 0;  // 0: at most one tag

    [[nodiscard]] constexpr bool any() const noexcept { return outer != 0; }
    [[nodiscard]] constexpr std::uint32_t count() const noexcept {
        return (outer != 0 ? 1u : 0u) + (inner != 0 ? 1u : 0u);
    }
    // What they take of a frame.
    [[nodiscard]] constexpr std::uint32_t bytes() const noexcept { return 4 * count(); }
    friend constexpr auto operator<=>(const VlanTags&, const VlanTags&) noexcept = default;
};

// 0 and 4,095 are reserved (IEEE 802.1Q table 9-2).
inline constexpr std::uint16_t kMinVlanId = 1, kMaxVlanId = 4'094;

}  // namespace weir
