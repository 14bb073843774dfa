// `weir replay`: captures through the production pipeline under the production configuration.
#pragma once

#include <string>
#include <vector>

#include "dataplane/ids.h"

namespace weir {

struct ReplayRequest {
    std::string config_file;
    std::vector<std::string> inputs, outputs;  // PORT=FILE
    std::string report_file;                   // empty: none
    std::vector<std::string> down;             // POOL/NAME, or POOL/NAME@FROM-TO
    unsigned workers = 0;                      // 0: the configuration's
};

// Exit code.
int replay_command(const ReplayRequest& request);

}  // namespace weir
