#include "ctrl/version.h"

#include <rte_version.h>

namespace weir {

std::string weir_version() { return WEIR_VERSION; }  // from meson.build

std::string dpdk_version() { return rte_version(); }

std::string version_text() { return "weir " + weir_version() + " (" + dpdk_version() + ")"; }

}  // namespace weir
