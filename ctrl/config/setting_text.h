// Values that stand in the configuration as texts: durations, sizes, L4 ports, names. Pure functions; any
// thread. An error's message says what is allowed and does not repeat the key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ctrl/config/config.h"
#include "drivers/result.h"

namespace weir {

// "500ms", "10s", "10m", "1h": a whole number and a unit, nothing else.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);
// "64K", "64M", "1G", "1T": bytes, binary.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);
// "80", "80,443,8000-8099", or "any" (which stands alone). Blanks around the commas are allowed. Sorted.
[[nodiscard]] Result<std::vector<PortRange>> parse_port_ranges(std::string_view text);
// "200-299,301": codes or ranges of codes, each from `min` to `max`. The text if it is one.
[[nodiscard]] Result<std::string> check_matcher(std::string_view text, unsigned min, unsigned max);
// Names of ports, pools, backends and services: they appear in metric labels, on command lines (POOL/NAME,
// PORT=FILE) and in logs, so 1 to 63 letters, digits, '.', '_', '-', ':'. The text if it is one.
[[nodiscard]] Result<std::string> check_name(std::string_view text);
// "10s", "500ms": the largest unit that divides.
[[nodiscard]] std::string to_text(Duration duration);
// "0", "100", "[ 100, 10 ]"
[[nodiscard]] std::string to_text(VlanTags vlan);
// "80,443,8000-8099", "any"
[[nodiscard]] std::string to_text(const std::vector<PortRange>& ports);

}  // namespace weir
