// What this program is.
#pragma once

#include <string>

namespace weir {

[[nodiscard]] std::string weir_version();
[[nodiscard]] std::string dpdk_version();
// "weir 0.1.0 (DPDK 22.11.11)"
[[nodiscard]] std::string version_text();

}  // namespace weir
