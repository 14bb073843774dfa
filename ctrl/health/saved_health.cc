#include "ctrl/health/saved_health.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "dataplane/net/address_text.h"

namespace weir {
namespace {

using Json = nlohmann::json;
constexpr int kVersion = 1;

void read_entry(const Json& json, SavedHealth& health) {
    const auto address = parse_ip_address(json.at("address").get<std::string>());
    const auto verdict = json.at("healthy").get<bool>() ? HealthVerdict::healthy : HealthVerdict::unhealthy;
    const auto reason = json.at("reason").get<std::uint8_t>();
    if (!address || reason >= kUnhealthyReasonNames.size()) return;
    health.entries[{json.at("pool").get<std::string>(), json.at("name").get<std::string>(), *address}] = {
        verdict, static_cast<UnhealthyReason>(reason), json.at("answer").get<std::string>(),
        json.at("since").get<double>()};
}

}  // namespace

std::string saved_health_file(const Config& config) {
    const ControlConfig defaults;
    const ControlConfig& control = config.control ? *config.control : defaults;
    return control.state_directory + "/health.json";
}

SavedHealth load_saved_health(const std::string& file, double unix_time) {
    try {
        std::ifstream input(file);
        const Json json = Json::parse(input);
        SavedHealth health;
        health.written = json.at("written").get<double>();
        const double age = unix_time - health.written;
        if (json.at("version") != kVersion || age < 0 || age > SavedHealth::kLongestAge) return {};
        for (const Json& entry : json.at("backends")) read_entry(entry, health);
        return health;
    } catch (const Json::exception&) {
        return {};  // absent, or not ours: the first verdicts come within seconds
    }
}

Result<void> store_saved_health(const std::string& file, const SavedHealth& health) {
    Json list = Json::array();
    for (const auto& [key, entry] : health.entries)
        list.push_back({{"pool", key.pool},
                        {"name", key.name},
                        {"address", to_text(key.address)},
                        {"healthy", entry.verdict == HealthVerdict::healthy},
                        {"reason", static_cast<std::uint8_t>(entry.reason)},
                        {"answer", entry.answer},
                        {"since", entry.since}});
    const Json json = {{"version", kVersion}, {"written", health.written}, {"backends", std::move(list)}};
    std::error_code nowhere;  // then the file cannot be written either
    std::filesystem::create_directories(std::filesystem::path(file).parent_path(), nowhere);
    const std::string fresh = file + ".new";
    std::ofstream output(fresh, std::ios::trunc);
    // An answer is a server's own words: not every byte of it is UTF-8.
    output << json.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    output.close();
    if (!output || std::rename(fresh.c_str(), file.c_str()) != 0)
        return machine_error(fmt::format("{}: cannot be written: {}", file, std::strerror(errno)));
    return {};
}

}  // namespace weir
