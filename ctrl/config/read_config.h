// The route "config: read -> validate": a file becomes a plain value, or every reason why not.
#pragma once

#include <string>
#include <string_view>

#include "ctrl/config/config.h"

namespace weir {

// Reads `path` (once, into memory) and what it @includes, and validates. All diagnostics at once, sorted by
// file and line. A mistake of syntax (brackets, quotes, duplicate keys) hides the mistakes behind it; every
// other kind does not. Never throws. Control thread.
[[nodiscard]] ConfigResult read_config(const std::string& path);

// The same from a text, called `name` in messages. It cannot @include.
[[nodiscard]] ConfigResult read_config_text(std::string_view text, const std::string& name);

}  // namespace weir
