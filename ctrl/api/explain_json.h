// Why a flow gets its backend: the question from what the operator typed, the answer as JSON. For `weir
// explain` and for the control socket.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ctrl/explain.h"
#include "drivers/result.h"

namespace weir {

// `protocol`: tcp or udp; `from`, `to`: "198.51.100.7:4242" or "[2001:db8::7]:4242". The error names the
// option.
[[nodiscard]] Result<FlowQuestion> flow_question(const std::string& protocol, const std::string& from,
                                                 const std::string& to);
[[nodiscard]] nlohmann::ordered_json to_json(const FlowExplanation& answer,
                                             const std::vector<std::string>& assumptions);

}  // namespace weir
