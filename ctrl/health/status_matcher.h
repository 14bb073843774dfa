// "200-299,301": codes and ranges of codes that count as success. The text is the configuration's, which has
// been judged (ctrl/config, check_matcher).
#pragma once

#include <string_view>

namespace weir {

[[nodiscard]] bool matches(std::string_view matcher, unsigned code);

}  // namespace weir
