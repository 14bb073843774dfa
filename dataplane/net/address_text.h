// Addresses to and from what people write. Control side and tests only: these allocate.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dataplane/net/address.h"

namespace weir {

// Strict: no leading zeros, no short forms of IPv4, no scope ids; nothing before or behind.
[[nodiscard]] std::optional<IpAddress> parse_ip_address(std::string_view text);
// "10.1.0.2/24"; the length is required and within the family's range.
[[nodiscard]] std::optional<IpPrefix> parse_ip_prefix(std::string_view text);
// "02:00:00:00:00:01"
[[nodiscard]] std::optional<MacAddress> parse_mac_address(std::string_view text);

[[nodiscard]] std::string to_text(const IpAddress& address);
[[nodiscard]] std::string to_text(const IpPrefix& prefix);
[[nodiscard]] std::string to_text(const MacAddress& address);

}  // namespace weir
