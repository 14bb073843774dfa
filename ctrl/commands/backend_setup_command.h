// `weir backend-setup`: the commands that make a server ready to be a backend.
#pragma once

#include <string>

namespace weir {

struct BackendSetupRequest {
    std::string config_file;
    std::string backend;  // POOL/NAME
    bool undo = false;    // the commands that take it back
};

// A shell script to stdout, what is wrong to stderr. Exit code.
int backend_setup_command(const BackendSetupRequest& request);

}  // namespace weir
