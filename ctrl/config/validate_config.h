// The rules that concern more than one key. Pure functions of the plain value; control thread.
#pragma once

#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/config/diagnostics.h"

namespace weir {

// Every contradiction at once, sorted by file and line. A configuration is in order if none is an error.
[[nodiscard]] std::vector<Diagnostic> validate_config(const Config& config);

// What is worth judging in a configuration that could only be read in part.
struct CheckScope {
    bool reachability = true;  // ports, neighbors and routes are whole
    bool warnings = true;
};

// The same for read_config, which has found mistakes of its own. Empty names and references have been
// reported by the reader and are not judged.
void check_config(const Config& config, CheckScope scope, Diagnostics& diagnostics);

}  // namespace weir
