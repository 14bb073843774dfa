// Where the control core's sentences for the operator go: the log in production, a list in tests.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace weir {

enum class Severity : std::uint8_t { info, warning, error };

// Called on the control thread; must not throw.
using Notify = std::function<void(Severity, const std::string&)>;

}  // namespace weir
