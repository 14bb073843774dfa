// A whole regular file in memory, or a sentence saying why not.
#pragma once

#include <cstddef>
#include <string>

#include "drivers/result.h"

namespace weir {

// Refuses what is no regular file (a folder, a pipe, a device), is unreadable, or is larger than `max_bytes`.
// The message does not repeat `path`. Never blocks on a pipe.
[[nodiscard]] Result<std::string> read_file(const std::string& path, std::size_t max_bytes);

}  // namespace weir
