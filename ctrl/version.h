// What this program is. WEIR_VERSION comes from meson.build.
#pragma once

#include <string>

namespace weir {

inline constexpr const char* kVersion = WEIR_VERSION;

// "weir 0.1.0 (DPDK 22.11.11)"
[[nodiscard]] std::string version_text();
[[nodiscard]] std::string dpdk_version();

}  // namespace weir
