// What stands in for a port's device where there is none (replay, explain).
#pragma once

#include <string>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/tables/header_template.h"

namespace weir {

// By PortId. A port whose device has no configured `mac` takes frames for any unicast MAC, because the
// captured device's is not known, and sends from 02:77:65:69:72:NN; `assumptions` gets a sentence for it.
[[nodiscard]] std::vector<PortFacts> offline_port_facts(const Config& config,
                                                        std::vector<std::string>& assumptions);

}  // namespace weir
