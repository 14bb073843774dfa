// SNAT ports and the kernel's own.
#pragma once

#include "ctrl/config/config.h"
#include "drivers/result.h"

namespace weir {

// Where the kernel has a SNAT address too (the port has a host interface), the ports that weir translates to
// must be none that the kernel gives to its own connections, probes included: their answers would be dropped
// `unsolicited`; nor any that a server of the machine listens on there. Error: they are; says what to do.
// Asks the network namespace that it is called in.
[[nodiscard]] Result<void> check_snat_ranges(const Config& config);

}  // namespace weir
