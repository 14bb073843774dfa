#include "ctrl/config/setting_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "ctrl/config/diagnostics.h"

namespace weir {
namespace {

constexpr std::size_t kMaxName = 63;

struct Quantity {
    std::uint64_t number;
    std::string_view unit;
};

std::optional<std::uint64_t> whole_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

// Digits, then the rest.
std::optional<Quantity> parse_quantity(std::string_view text) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto number = whole_number(text.substr(0, digits));
    if (!number) return std::nullopt;
    return Quantity{*number, text.substr(digits)};
}

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};
constexpr std::array<Unit, 4> kTimeUnits = {{{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}}};
constexpr std::array<Unit, 4> kSizeUnits = {
    {{"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30}, {"T", 1ull << 40}}};

Result<std::uint64_t> scaled(std::string_view text, const std::array<Unit, 4>& units, const char* allowed) {
    const auto quantity = parse_quantity(text);
    if (!quantity) return operator_error(fmt::format("is {}; allowed: {}", in_quotes(text), allowed));
    if (quantity->unit.empty())
        return operator_error(fmt::format("is {}, which has no unit; allowed: {}", in_quotes(text), allowed));
    for (const auto& [name, factor] : units) {
        if (name != quantity->unit) continue;
        // Signed, since durations are.
        if (quantity->number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / factor)
            return operator_error(fmt::format("is {}, too large a number", in_quotes(text)));
        return quantity->number * factor;
    }
    return operator_error(fmt::format("is {}, whose unit {} is unknown; allowed: {}", in_quotes(text),
                                      in_quotes(quantity->unit), allowed));
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

// "200" or "200-299", each from min to max, the first not above the last.
std::optional<std::pair<unsigned, unsigned>> parse_range(std::string_view text, unsigned min, unsigned max) {
    const std::size_t dash = text.find('-');
    const auto first = whole_number(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : whole_number(text.substr(dash + 1));
    if (!first || !last || *first < min || *last > max || *first > *last) return std::nullopt;
    return std::pair(static_cast<unsigned>(*first), static_cast<unsigned>(*last));
}

// The ranges of a comma-separated text, or the part that is none.
tl::expected<std::vector<std::pair<unsigned, unsigned>>, std::string> parse_ranges(std::string_view text,
                                                                                   unsigned min,
                                                                                   unsigned max) {
    std::vector<std::pair<unsigned, unsigned>> ranges;
    for (;;) {
        const std::size_t comma = text.find(',');
        const std::string_view part = trimmed(text.substr(0, comma));
        const auto range = parse_range(part, min, max);
        if (!range) return tl::make_unexpected(std::string(part));
        ranges.push_back(*range);
        if (comma == std::string_view::npos) return ranges;
        text.remove_prefix(comma + 1);
    }
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
    const auto ms = scaled(text, kTimeUnits, "a whole number with ms, s, m or h, as in \"500ms\" or \"10s\"");
    if (!ms) return tl::make_unexpected(ms.error());
    return Duration(static_cast<Duration::rep>(*ms));
}

Result<std::uint64_t> parse_size(std::string_view text) {
    return scaled(text, kSizeUnits, "a whole number with K, M, G or T (binary), as in \"64M\" or \"1G\"");
}

Result<std::vector<PortRange>> parse_port_ranges(std::string_view text) {
    if (text == "any") return std::vector<PortRange>{{1, 65'535, true}};
    const auto ranges = parse_ranges(text, 1, 65'535);
    if (!ranges)
        return operator_error(
            fmt::format("has {}; allowed: L4 ports 1 to 65,535, ranges and lists of them as in "
                        "\"80,443,8000-8099\", or \"any\" alone",
                        in_quotes(ranges.error())));
    std::vector<PortRange> ports;
    for (const auto& [first, last] : *ranges)
        ports.push_back({static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last), false});
    std::sort(ports.begin(), ports.end());
    return ports;
}

Result<std::string> check_matcher(std::string_view text, unsigned min, unsigned max) {
    const auto ranges = parse_ranges(text, min, max);
    if (!ranges)
        return operator_error(
            fmt::format("has {}; allowed: codes {} to {}, ranges and lists of them as in \"{}\"",
                        in_quotes(ranges.error()), min, max, max > 99 ? "200-299,301" : "0,12"));
    return std::string(text);
}

Result<std::string> check_name(std::string_view text) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '_' || c == '-' || c == ':';
    };
    if (!text.empty() && text.size() <= kMaxName && std::all_of(text.begin(), text.end(), allowed))
        return std::string(text);
    return operator_error(fmt::format("is {}; allowed: 1 to {} letters, digits, '.', '_', '-', ':'",
                                      in_quotes(text), kMaxName));
}

std::string to_text(Duration duration) {
    const auto ms = static_cast<std::uint64_t>(duration.count());
    const Unit* best = &kTimeUnits[0];
    for (const Unit& unit : kTimeUnits)
        if (ms != 0 && ms % unit.factor == 0) best = &unit;
    return fmt::format("{}{}", ms / best->factor, ms == 0 ? "s" : best->name);
}

std::string to_text(VlanTags vlan) {
    return vlan.inner == 0 ? fmt::format("{}", vlan.outer)
                           : fmt::format("[ {}, {} ]", vlan.outer, vlan.inner);
}

std::string to_text(const std::vector<PortRange>& ports) {
    std::string text;
    for (const PortRange& range : ports) {
        if (range.any) return "any";
        if (!text.empty()) text += ',';
        text += range.first == range.last ? fmt::format("{}", range.first)
                                          : fmt::format("{}-{}", range.first, range.last);
    }
    return text;
}

}  // namespace weir
