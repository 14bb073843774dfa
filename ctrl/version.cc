#include "ctrl/version.h"

#include <rte_version.h>

namespace weir {

std::string dpdk_version() { return rte_version(); }

std::string version_text() { return std::string("weir ") + kVersion + " (" + dpdk_version() + ")"; }

}  // namespace weir
