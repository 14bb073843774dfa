// Answers for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace weir {

// Of `show`.
[[nodiscard]] std::string shown_text(const std::string& what, const nlohmann::ordered_json& answer);
// Of a change: what is in force now, and the warnings.
[[nodiscard]] std::string changed_text(const nlohmann::ordered_json& answer);
// Of `reload` and `check`.
[[nodiscard]] std::string reloaded_text(const nlohmann::ordered_json& answer, bool in_force);

}  // namespace weir
