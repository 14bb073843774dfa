// Strict, typed access to one JSON object that came from outside: what GroupReader is for the configuration.
// A wrong type or value throws JsonMistake, whose sentence names the key and what is allowed; it is caught
// by the functions that return a Result. Any thread.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "ctrl/config/config_limits.h"
#include "ctrl/config/diagnostics.h"
#include "ctrl/config/setting_text.h"
#include "dataplane/net/address_text.h"

namespace weir {

class JsonMistake : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

class JsonReader {
  public:
    // `what` begins each sentence: "a request". Both outlive this.
    JsonReader(const nlohmann::json& object, std::string_view what) : object_(object), what_(what) {
        if (!object.is_object()) fail("is no object; allowed: { \"KEY\": VALUE, ... }");
    }
    // Refuses keys that are not among `known`.
    void allow(std::initializer_list<std::string_view> known) const {
        for (const auto& [key, value] : object_.items())
            if (std::ranges::find(known, key) == known.end())
                fail(fmt::format("has the unknown key {}; allowed: {}", in_quotes(key), joined(known)));
    }
    // Null if absent.
    [[nodiscard]] const nlohmann::json* find(const char* key) const {
        const auto place = object_.find(key);
        return place == object_.end() ? nullptr : &*place;
    }
    [[nodiscard]] std::string text(const char* key) const {
        const nlohmann::json* value = find(key);
        if (value == nullptr || !value->is_string())
            fail(fmt::format("needs {}, a text{}", key, value == nullptr ? "" : ", not another type"));
        return value->get<std::string>();
    }
    [[nodiscard]] std::string name(const char* key) const {
        const auto checked = check_name(text(key));
        if (!checked) fail(fmt::format("{} {}", key, checked.error().message));
        return *checked;
    }
    [[nodiscard]] IpAddress address(const char* key) const {
        const std::string written = text(key);
        const auto address = parse_ip_address(written);
        if (!address)
            fail(fmt::format("{} is {}; allowed: an IPv4 or IPv6 address", key, in_quotes(written)));
        return *address;
    }
    [[nodiscard]] std::optional<std::int64_t> integer(const char* key, std::int64_t min,
                                                      std::int64_t max) const {
        const nlohmann::json* value = find(key);
        if (value == nullptr) return std::nullopt;
        // Beyond 2^63 an unsigned number would turn negative.
        const bool fits = value->is_number_integer() &&
                          (!value->is_number_unsigned() || value->get<std::uint64_t>() <= INT64_MAX);
        const std::int64_t number = fits ? value->get<std::int64_t>() : 0;
        if (!fits || number < min || number > max)
            fail(fmt::format("{} is {}; allowed: {} to {}", key, shown(*value), grouped(min), grouped(max)));
        return number;
    }
    // Absent: false.
    [[nodiscard]] bool flag(const char* key) const {
        const nlohmann::json* value = find(key);
        if (value == nullptr) return false;
        if (!value->is_boolean()) fail(fmt::format("{} is {}; allowed: true, false", key, shown(*value)));
        return value->get<bool>();
    }
    [[noreturn]] void fail(const std::string& sentence) const {
        throw JsonMistake(fmt::format("{} {}", what_, sentence));
    }

  private:
    static std::string joined(std::initializer_list<std::string_view> words) {
        std::string text;
        for (const std::string_view word : words) text.append(text.empty() ? "" : ", ").append(word);
        return text;
    }
    // A short value as it was written; of a long one the type.
    static std::string shown(const nlohmann::json& value) {
        return value.is_number() ? value.dump() : fmt::format("a value of type {}", value.type_name());
    }

    const nlohmann::json& object_;
    std::string_view what_;
};

}  // namespace weir
