// The rows of the bench: which are measured, and which of them are compared with each other in pairs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/bench/row.h"

namespace weir::bench {

// A row beside the floor, and beside a second row if one is given: `ratio` is subject / reference.
struct Measurement {
    Row subject;
    std::optional<Row> reference;
};

// Such as "ipip 6in4 1M".
[[nodiscard]] std::string name_of_row(const Row& row);

// `quick`: what the claims need, at fewer table sizes.
[[nodiscard]] std::vector<Measurement> measurements(bool quick);

}  // namespace weir::bench
