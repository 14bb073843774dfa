// `weir run`: the appliance.
#pragma once

#include <string>

namespace weir {

// Returns when it is told to stop. Exit code.
int run_command(const std::string& config_file);

}  // namespace weir
