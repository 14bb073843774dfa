#include "ctrl/config/setting_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctrl/config/setting_text.h"
#include "dataplane/net/address_text.h"

namespace weir {

using libconfig::Setting;

GroupReader::GroupReader(const Setting& group, std::string what, const SourceText& source,
                         Diagnostics& diagnostics)
    : group_(group), what_(std::move(what)), source_(source), diagnostics_(diagnostics) {}

SourceLine GroupReader::where_of(const Setting& setting) const {
    return source_.where(setting.getSourceLine());
}

void GroupReader::require(std::initializer_list<const char*> keys) {
    for (const char* key : keys)
        if (find(key) == nullptr) error_at(where(), fmt::format("{} is missing", key));
}

const Setting* GroupReader::find(const char* key) {
    if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
    return group_.exists(key) ? &group_[key] : nullptr;
}

std::string GroupReader::shown(const Setting& setting) {
    switch (setting.getType()) {
        case Setting::TypeInt:
            return fmt::format("{}", static_cast<int>(setting));
        case Setting::TypeInt64:
            return fmt::format("{}", static_cast<long long>(setting));
        case Setting::TypeFloat:
            return fmt::format("{:g}, a number with a point", static_cast<double>(setting));
        case Setting::TypeString:
            return fmt::format("the text {}", in_quotes(setting.c_str()));
        case Setting::TypeBoolean:
            return static_cast<bool>(setting) ? "true" : "false";
        case Setting::TypeGroup:
            return "a group { }";
        case Setting::TypeArray:
            return "an array [ ]";
        case Setting::TypeList:
            return "a list ( )";
        case Setting::TypeNone:
            break;
    }
    return "nothing";
}

void GroupReader::error(const char* key, const std::string& message) {
    const Setting* setting = find(key);
    diagnostics_.error(setting == nullptr ? where() : where_of(*setting),
                       fmt::format("{}{} {}", prefix(), key, message));
}

void GroupReader::error_at(const SourceLine& where, const std::string& message) {
    diagnostics_.error(where, prefix() + message);
}

void GroupReader::warning(const char* key, const std::string& message) {
    const Setting* setting = find(key);
    diagnostics_.warning(setting == nullptr ? where() : where_of(*setting),
                         fmt::format("{}{} {}", prefix(), key, message));
}

void GroupReader::read(const char* key, bool& target) {
    const Setting* setting = find(key);
    if (setting == nullptr) return;
    if (setting->getType() == Setting::TypeBoolean)
        target = static_cast<bool>(*setting);
    else
        error(key, fmt::format("is {}; allowed: true, false", shown(*setting)));
}

std::optional<std::string> GroupReader::text_of(const char* key) {
    const Setting* setting = find(key);
    if (setting == nullptr) return std::nullopt;
    if (setting->getType() == Setting::TypeString) return std::string(setting->c_str());
    error(key, fmt::format("is {}; allowed: a text in quotes", shown(*setting)));
    return std::nullopt;
}

void GroupReader::read(const char* key, std::string& target) {
    if (auto text = text_of(key)) target = std::move(*text);
}

std::optional<std::int64_t> GroupReader::integer(const char* key, IntegerRange range) {
    const Setting* setting = find(key);
    return setting == nullptr ? std::nullopt : integer_of(key, *setting, range);
}

std::optional<std::int64_t> GroupReader::integer_of(const char* key, const Setting& setting,
                                                    IntegerRange range) {
    std::int64_t value = 0;
    if (setting.getType() == Setting::TypeInt) {
        value = static_cast<int>(setting);
    } else if (setting.getType() == Setting::TypeInt64) {
        value = static_cast<long long>(setting);
    } else {
        error_at(where_of(setting), fmt::format("{} is {}; allowed: a whole number from {} to {}", key,
                                                shown(setting), grouped(range.min), grouped(range.max)));
        return std::nullopt;
    }
    if (value >= range.min && value <= range.max) return value;
    // The lexer has said so with the number that the operator wrote; this one is what libconfig made of it.
    if (!source_.lost_integer(where_of(setting), value))
        error_at(where_of(setting), fmt::format("{} is {}; allowed: {} to {}", key, value, grouped(range.min),
                                                grouped(range.max)));
    return std::nullopt;
}

void GroupReader::read(const char* key, DurationRange range, Duration& target) {
    const Setting* setting = find(key);
    if (setting == nullptr) return;
    if (setting->isNumber())
        return error(
            key, fmt::format("is {} without a unit; allowed: a text with ms, s, m or h, {} to {}, as in "
                             "\"10s\"",
                             shown(*setting), in_quotes(to_text(range.min)), in_quotes(to_text(range.max))));
    const auto text = text_of(key);
    if (!text) return;
    const auto value = parse_duration(*text);
    if (!value) return error(key, value.error().message);
    if (*value < range.min || *value > range.max)
        return error(key, fmt::format("is {}; allowed: {} to {}", in_quotes(*text),
                                      in_quotes(to_text(range.min)), in_quotes(to_text(range.max))));
    target = *value;
}

namespace {

std::string size_text(std::uint64_t bytes) {
    for (const auto& [unit, shift] : {std::pair('T', 40), std::pair('G', 30), std::pair('M', 20)})
        if (bytes >> shift != 0 && bytes % (1ull << shift) == 0)
            return fmt::format("\"{}{}\"", bytes >> shift, unit);
    return fmt::format("\"{}K\"", bytes >> 10);
}

}  // namespace

void GroupReader::read_size(const char* key, SizeRange range, std::uint64_t& target) {
    const Setting* setting = find(key);
    if (setting == nullptr) return;
    if (setting->isNumber())
        return error(key, fmt::format("is {} without a unit; allowed: a text with K, M, G or T, {} to {}",
                                      shown(*setting), size_text(range.min), size_text(range.max)));
    const auto text = text_of(key);
    if (!text) return;
    const auto value = parse_size(*text);
    if (!value) return error(key, value.error().message);
    if (*value < range.min || *value > range.max)
        return error(key, fmt::format("is {}; allowed: {} to {}", in_quotes(*text), size_text(range.min),
                                      size_text(range.max)));
    target = *value;
}

void GroupReader::read(const char* key, IpAddress& target) {
    const auto text = text_of(key);
    if (!text) return;
    if (const auto value = parse_ip_address(*text))
        target = *value;
    else
        error(key, fmt::format(
                       "is {}; allowed: an IPv4 or IPv6 address, as in \"203.0.113.10\" or \"2001:db8::10\"",
                       in_quotes(*text)));
}

void GroupReader::read(const char* key, IpPrefix& target) {
    const auto text = text_of(key);
    if (!text) return;
    if (const auto value = parse_ip_prefix(*text))
        target = *value;
    else
        error(key, fmt::format("is {}; allowed: ADDRESS/LENGTH, as in \"10.1.0.0/24\" or \"2001:db8::/64\"",
                               in_quotes(*text)));
}

std::optional<std::size_t> GroupReader::choice_of(const char* key,
                                                  const std::vector<std::string_view>& names) {
    const auto text = text_of(key);
    if (!text) return std::nullopt;
    const auto found = std::find(names.begin(), names.end(), *text);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    std::string allowed;
    for (const std::string_view name : names)
        allowed += fmt::format("{}\"{}\"", allowed.empty() ? "" : ", ", name);
    const std::string_view meant = nearest(*text, names);
    error(key, fmt::format("is {}{}; allowed: {}", in_quotes(*text),
                           meant.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", meant), allowed));
    return std::nullopt;
}

std::vector<TextAt> GroupReader::texts(const char* key) {
    std::vector<TextAt> list;
    const Setting* setting = find(key);
    if (setting == nullptr) return list;
    if (!setting->isArray() && !setting->isList()) {
        error(key, fmt::format("is {}; allowed: texts in brackets, as in [ \"...\" ]", shown(*setting)));
        return list;
    }
    for (int i = 0; i < setting->getLength(); ++i) {
        const Setting& element = (*setting)[i];
        if (element.getType() == Setting::TypeString)
            list.push_back({element.c_str(), where_of(element)});
        else
            error_at(where_of(element),
                     fmt::format("{}[{}] is {}; allowed: a text in quotes", key, i, shown(element)));
    }
    return list;
}

std::vector<std::int64_t> GroupReader::integers(const char* key, IntegerRange range) {
    std::vector<std::int64_t> list;
    const Setting* setting = find(key);
    if (setting == nullptr) return list;
    if (!setting->isArray() && !setting->isList()) {
        error(key, fmt::format("is {}; allowed: whole numbers in brackets, as in [ 2, 3 ]", shown(*setting)));
        return list;
    }
    for (int i = 0; i < setting->getLength(); ++i)
        if (const auto value = integer_of(key, (*setting)[i], range)) list.push_back(*value);
    return list;
}

void GroupReader::group(const char* key, const std::function<void(GroupReader&)>& read_group) {
    const Setting* setting = find(key);
    if (setting == nullptr) return;
    if (!setting->isGroup())
        return error(key, fmt::format("is {}; allowed: a group, {} = {{ ... }};", shown(*setting), key));
    GroupReader reader(*setting, what_.empty() ? key : what_ + ": " + key, source_, diagnostics_);
    read_group(reader);
    reader.finish();
}

void GroupReader::each(const char* key, const char* one, std::size_t limit,
                       const std::function<void(GroupReader&)>& read_group) {
    const Setting* setting = find(key);
    if (setting == nullptr) return;
    const bool empty_array = setting->isArray() && setting->getLength() == 0;
    if (!setting->isList() && !empty_array)
        return error(key, fmt::format("is {}; allowed: a list of groups, {} = ( {{ ... }}, {{ ... }} );",
                                      shown(*setting), key));
    const int length = setting->getLength();
    if (static_cast<std::size_t>(length) > limit)
        return error(key, fmt::format("has {} entries; allowed: at most {}", grouped(length),
                                      grouped(static_cast<std::int64_t>(limit))));
    for (int i = 0; i < length; ++i) {
        const Setting& element = (*setting)[i];
        if (!element.isGroup()) {
            error_at(where_of(element),
                     fmt::format("{}[{}] is {}; allowed: a group {{ ... }}", key, i, shown(element)));
            continue;
        }
        const bool named = element.exists("name") && element["name"].getType() == Setting::TypeString;
        const std::string called = named ? fmt::format("{} {}", one, in_quotes(element["name"].c_str()))
                                         : fmt::format("{}[{}]", key, i);
        GroupReader reader(element, prefix() + called, source_, diagnostics_);
        read_group(reader);
        reader.finish();
    }
}

void GroupReader::not_built(const char* key, std::string_view instead) {
    if (find(key) != nullptr) error(key, fmt::format("is not built yet; {}", instead));
}

KeyLines GroupReader::key_lines() {
    KeyLines lines;
    const SourceLine group = where();
    for (const std::string_view key : known_) {
        const char* name = key.data();  // a literal: ends with NUL
        if (!group_.exists(name)) continue;
        const SourceLine where = where_of(group_[name]);
        if (where.line != group.line || where.file != group.file) lines.add(key, where);
    }
    return lines;
}

void GroupReader::finish() {
    for (int i = 0; i < group_.getLength(); ++i) {
        const Setting& setting = group_[i];
        const std::string name = setting.getName();
        if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
        const std::string_view meant = nearest(name, known_);
        std::string allowed;
        for (const std::string_view key : known_)
            allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", key);
        error_at(where_of(setting),
                 meant.empty()
                     ? fmt::format("unknown key {}; allowed: {}", in_quotes(name), allowed)
                     : fmt::format("unknown key {}; did you mean {}?", in_quotes(name), in_quotes(meant)));
    }
}

}  // namespace weir
