// What explain_json.h makes of an explanation, for people. Pure; any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace weir {

// `flow`: "tcp 198.51.100.7:4242 -> 203.0.113.10:80". Lines.
[[nodiscard]] std::string explanation_text(const std::string& flow, const nlohmann::ordered_json& answer);

}  // namespace weir
