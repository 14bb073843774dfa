#include "tools/weirctl/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

#include "ctrl/changes/json_reader.h"

namespace weir {
namespace {

std::optional<std::uint64_t> number(std::string_view digits) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return value;
}

Result<std::uint64_t> weight_of(const std::string& word) {
    const auto weight = number(word);
    if (!weight)
        return operator_error(fmt::format("weight {}; allowed: 0 to {}", in_quotes(word), kMaxWeight));
    return *weight;
}

// What follows "add POOL NAME ADDRESS": pairs of a word and a value.
Result<void> read_options(const std::vector<std::string>& words, nlohmann::json& json) {
    for (std::size_t i = 4; i < words.size(); i += 2) {
        std::string key = words[i];
        if (key.starts_with("--")) key.erase(0, 2);
        if ((key != "weight" && key != "zone") || i + 1 == words.size())
            return operator_error(fmt::format("{} here; allowed: weight N, zone Z", in_quotes(words[i])));
        if (key == "zone") {
            json["zone"] = words[i + 1];
            continue;
        }
        const auto weight = weight_of(words[i + 1]);
        if (!weight) return tl::make_unexpected(weight.error());
        json["weight"] = *weight;
    }
    return {};
}

Result<Change> read_line(const std::vector<std::string>& words) {
    const auto kind = std::ranges::find(kChangeNames, words[0]);
    if (kind == kChangeNames.end())
        return operator_error(
            fmt::format("{} here; allowed: add, remove, drain, enable, weight", in_quotes(words[0])));
    const bool is_add = *kind == "add", is_weight = *kind == "weight", is_remove = *kind == "remove";
    const std::size_t least = is_add || is_weight ? 4 : 3;
    if (words.size() < least || (!is_add && words.size() > least + (is_remove ? 1 : 0)))
        return operator_error(fmt::format("{} takes POOL NAME{}", *kind,
                                          is_add      ? " ADDRESS[:PORT] [weight N] [zone Z]"
                                          : is_weight ? " N"
                                          : is_remove ? " [now]"
                                                      : ""));
    nlohmann::json json = {{"change", *kind}, {"pool", words[1]}, {"name", words[2]}};
    if (is_remove && words.size() == 4) {
        if (words[3] != "now" && words[3] != "--now")
            return operator_error(fmt::format("{} here; allowed: now", in_quotes(words[3])));
        json["now"] = true;
    }
    if (is_weight) {
        const auto weight = weight_of(words[3]);
        if (!weight) return tl::make_unexpected(weight.error());
        json["weight"] = *weight;
    }
    if (!is_add) return read_change(json);
    Change endpoint;
    if (auto read = read_endpoint(words[3], endpoint); !read) return tl::make_unexpected(read.error());
    json["address"] = to_text(endpoint.address);
    if (endpoint.port) json["port"] = *endpoint.port;
    if (auto read = read_options(words, json); !read) return tl::make_unexpected(read.error());
    return read_change(json);
}

}  // namespace

Result<void> read_endpoint(const std::string& text, Change& change) {
    std::string_view address = text, port;
    const std::size_t colon = text.rfind(':');
    const bool bracketed = text.starts_with('[');
    // One colon parts a port; several are an IPv6 address, unless it stands in brackets.
    const bool has_port = colon != std::string::npos && (bracketed || text.find(':') == colon) &&
                          (!bracketed || text[colon - 1] == ']');
    if (has_port) {
        port = address.substr(colon + 1);
        address = address.substr(0, colon);
    }
    if (bracketed && address.ends_with(']')) address = address.substr(1, address.size() - 2);
    const auto parsed = parse_ip_address(address);
    const auto l4_port = number(port);
    if (!parsed || (bracketed && parsed->is_v4()) ||
        (has_port && (!l4_port || *l4_port == 0 || *l4_port > 65'535)))
        return operator_error(
            fmt::format("{}: allowed: ADDRESS, ADDRESS:PORT, or [ADDRESS]:PORT for IPv6, with a "
                        "port from 1 to 65535",
                        in_quotes(text)));
    change.address = *parsed;
    if (has_port) change.port = static_cast<std::uint16_t>(*l4_port);
    return {};
}

Result<std::vector<Change>> read_batch(std::istream& lines) {
    std::vector<Change> changes;
    std::size_t line_number = 0;
    for (std::string line; std::getline(lines, line);) {
        ++line_number;
        std::istringstream stream(line);
        std::vector<std::string> words;
        for (std::string word; stream >> word;) words.push_back(word);
        if (words.empty() || words[0].starts_with('#')) continue;
        auto change = read_line(words);
        if (!change)
            return operator_error(
                fmt::format("line {}: {}; none of them was made", line_number, change.error().message));
        changes.push_back(std::move(*change));
    }
    return changes;
}

}  // namespace weir
