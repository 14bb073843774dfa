// Changes as operators write them: one on the command line, or one a line for `weirctl batch`.
#pragma once

#include <istream>
#include <string>
#include <vector>

#include "ctrl/changes/change.h"
#include "drivers/result.h"

namespace weir {

// "10.1.1.13", "10.1.1.13:80", "2001:db8::13", "[2001:db8::13]:80".
[[nodiscard]] Result<void> read_endpoint(const std::string& text, Change& change);

// Lines as after `weirctl backend`: "add web TestWeb03 10.1.1.13:80 weight 2", "remove web TestWeb01 now",
// "drain web TestWeb02", "enable ...", "weight web TestWeb02 5". Empty lines and those that begin with # are
// none. The error names the line.
[[nodiscard]] Result<std::vector<Change>> read_batch(std::istream& lines);

}  // namespace weir
