// Columns for a terminal.
#pragma once

#include <string>
#include <vector>

namespace weir {

// Rows of cells under their titles; a column is as wide as its widest cell, numbers stand on the right.
[[nodiscard]] std::string table_text(const std::vector<std::string>& titles,
                                     const std::vector<std::vector<std::string>>& rows);

}  // namespace weir
