// `weir check -c FILE`.
#pragma once

#include <string>

namespace weir {

// Reads and validates `file`. Errors and warnings go to stderr, one a line, "FILE:LINE: ..."; a summary to
// stdout. 0 if the file may be run (warnings or not), 1 if not. Main thread.
int check_command(const std::string& file);

}  // namespace weir
