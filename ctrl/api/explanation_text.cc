#include "ctrl/api/explanation_text.h"

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>

namespace weir {
namespace {

using nlohmann::ordered_json;

std::string text_of(const ordered_json& answer, const char* key) { return answer.value(key, std::string()); }

std::string backend_text(const ordered_json& answer) {
    const auto own = answer.value("backend_slots", std::uint32_t{0});
    const auto slots = answer.value("slots", std::uint32_t{1});
    return fmt::format(
        "hash      {:#018x} over {}\n"
        "slot      {} of {}; {} has {} of them ({:.2f} %)\n"
        "backend   {} ({})\n"
        "forwards  {}, out of port {} to {}, {} bytes of tunnel headers\n",
        answer.value("hash", std::uint64_t{0}), text_of(answer, "hashed"),
        answer.value("slot", std::uint32_t{0}), slots, text_of(answer, "backend"), own, 100.0 * own / slots,
        text_of(answer, "backend"), text_of(answer, "address"), text_of(answer, "mode"),
        text_of(answer, "port"), text_of(answer, "next_hop_mac"), answer.value("overhead", 0u));
}

}  // namespace

std::string explanation_text(const std::string& flow, const ordered_json& answer) {
    std::string text = fmt::format("flow      {}\n", flow);
    if (answer.contains("service"))
        text += fmt::format("service   {}, pool {}\n", text_of(answer, "service"), text_of(answer, "pool"));
    if (answer.contains("backend")) text += backend_text(answer);
    if (answer.contains("reason")) text += fmt::format("dropped   {}\n", text_of(answer, "reason"));
    if (answer.contains("punted_to"))
        text += fmt::format("punted    an address of port {}: to the kernel\n", text_of(answer, "punted_to"));
    for (const ordered_json& assumption : answer.value("assumptions", ordered_json::array()))
        text += fmt::format("note      {}\n", assumption.get<std::string>());
    return text;
}

}  // namespace weir
