// A run-time change of one backend, as a command asks for it.
//
// JSON, as in the requests of the control socket (ctrl/api/protocol.h):
//
//   {"change":"add","pool":P,"name":N,"address":A}   also "port", "weight", "zone"
//   {"change":"remove","pool":P,"name":N}            also "now": true
//   {"change":"drain","pool":P,"name":N}
//   {"change":"enable","pool":P,"name":N}
//   {"change":"weight","pool":P,"name":N,"weight":W}
//
// Plain values and pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "ctrl/config/config.h"
#include "drivers/result.h"

namespace weir {

struct Change {
    enum class Kind : std::uint8_t { add, remove, drain, enable, weight };
    Kind kind = Kind::add;
    BackendKey key;
    IpAddress address;                  // add
    std::optional<std::uint16_t> port;  // add
    unsigned weight = 1;                // add, weight
    std::string zone;                   // add
    bool now = false;                   // remove: its flows are cut too
    bool operator==(const Change&) const = default;
};

inline constexpr std::array<std::string_view, 5> kChangeNames = {"add", "remove", "drain", "enable",
                                                                 "weight"};
constexpr std::string_view name_of(Change::Kind kind) noexcept {
    return kChangeNames[static_cast<std::size_t>(kind)];
}

// Strict: unknown keys, wrong types and values that the configuration's reader would refuse are errors, and
// their sentence says what is allowed.
[[nodiscard]] Result<Change> read_change(const nlohmann::json& json);
[[nodiscard]] nlohmann::json to_json(const Change& change);

// For the log: "backend add web TestWeb03 10.1.1.13:80 weight 2".
[[nodiscard]] std::string to_text(const Change& change);

}  // namespace weir
