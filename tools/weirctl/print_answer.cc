#include "tools/weirctl/print_answer.h"

#include <fmt/format.h>

#include <vector>

#include "tools/weirctl/table.h"

namespace weir {
namespace {

using nlohmann::ordered_json;

struct Column {
    const char* title;
    const char* key;
};

// A member, or null.
const ordered_json& member(const ordered_json& object, const char* key) {
    static const ordered_json kNothing;
    const auto place = object.find(key);
    return place == object.end() ? kNothing : *place;
}

// A value in one cell. Lists: words with commas; objects: "key value, key value"; nothing: "-".
std::string cell(const ordered_json& value) {
    if (value.is_null()) return "-";
    if (value.is_string())
        return value.get_ref<const std::string&>().empty() ? "-" : value.get<std::string>();
    if (value.is_number_float()) return fmt::format("{:.1f} %", 100 * value.get<double>());
    std::string text;
    if (value.is_array())
        for (const ordered_json& one : value) text += (text.empty() ? "" : ", ") + cell(one);
    if (value.is_object())
        for (const auto& [key, one] : value.items())
            text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, cell(one));
    if (value.is_array() || value.is_object()) return text.empty() ? "-" : text;
    return value.dump();
}

std::string list_text(const ordered_json& list, const std::vector<Column>& columns) {
    std::vector<std::string> titles;
    for (const Column& column : columns) titles.emplace_back(column.title);
    std::vector<std::vector<std::string>> rows;
    for (const ordered_json& object : list) {
        std::vector<std::string>& row = rows.emplace_back();
        for (const Column& column : columns) row.push_back(cell(member(object, column.key)));
    }
    return table_text(titles, rows);
}

std::string flows_text(const ordered_json& answer) {
    std::string text = fmt::format(
        "{} flows of {} that fit; {} inserted, {} evicted, {} not placed since start\n\n",
        cell(member(answer, "entries")), cell(member(answer, "capacity")), cell(member(answer, "inserted")),
        cell(member(answer, "evicted")), cell(member(answer, "not_placed")));
    text += list_text(member(answer, "services"), {{"SERVICE", "service"}, {"FLOWS", "active_flows"}});
    text += '\n';
    text += list_text(
        member(answer, "backends"),
        {{"POOL", "pool"}, {"BACKEND", "backend"}, {"ADDRESS", "address"}, {"FLOWS", "active_flows"}});
    return text + "\nThe flows themselves are in the workers' tables and are not listed.\n";
}

std::string drops_text(const ordered_json& answer) {
    std::string text = fmt::format("{} of {} received packets dropped since start\n",
                                   cell(member(answer, "dropped")), cell(member(answer, "received")));
    ordered_json rows = ordered_json::array();
    for (const auto& [reason, packets] : member(answer, "reasons").items())
        rows.push_back({{"reason", reason}, {"packets", packets}});
    return rows.empty() ? text
                        : text + '\n' + list_text(rows, {{"REASON", "reason"}, {"PACKETS", "packets"}});
}

const std::vector<Column>* columns_of(const std::string& what) {
    static const std::vector<std::pair<std::string, std::vector<Column>>> kColumns = {
        {"services",
         {{"SERVICE", "name"},
          {"VIP", "vip"},
          {"PROTOCOL", "protocols"},
          {"PORT", "port"},
          {"MODE", "forwarding"},
          {"POOL", "pool"},
          {"FLOWS", "active_flows"},
          {"NEW FLOWS", "new_flows"},
          {"PACKETS", "packets"},
          {"DROPPED", "dropped"}}},
        {"pools",
         {{"POOL", "name"},
          {"BACKENDS", "backends"},
          {"STATES", "states"},
          {"FLOWS", "active_flows"},
          {"HASH", "hash"},
          {"DEREGISTRATION", "deregistration_delay"},
          {"SERVICES", "services"}}},
        {"backends",
         {{"POOL", "pool"},
          {"BACKEND", "name"},
          {"ADDRESS", "address"},
          {"PORT", "port"},
          {"ZONE", "zone"},
          {"WEIGHT", "weight"},
          {"FLOWS", "active_flows"},
          {"STATE", "state"},
          {"SINCE", "since"},
          {"REASON", "reason"},
          {"IN WORDS", "description"}}},
        {"workers",
         {{"WORKER", "worker"},
          {"GENERATION", "generation"},
          {"BUSY", "busy"},
          {"RECEIVED", "received"},
          {"FORWARDED", "forwarded"},
          {"ANSWERED", "answered"},
          {"PUNTED", "punted"},
          {"DROPPED", "dropped"},
          {"FLOWS", "flows"},
          {"OF", "flow_capacity"}}},
        {"ports",
         {{"PORT", "name"},
          {"DEVICE", "device"},
          {"LINK", "link"},
          {"MTU", "mtu"},
          {"HOST", "host_interface"},
          {"ADDRESSES", "addresses"},
          {"RX", "rx_packets"},
          {"TX", "tx_packets"},
          {"MISSED", "rx_missed"},
          {"NO MBUF", "rx_no_mbuf"}}}};
    for (const auto& [name, columns] : kColumns)
        if (name == what) return &columns;
    return nullptr;
}

std::string lines_of(const ordered_json& answer, const char* key, const char* prefix) {
    std::string text;
    for (const ordered_json& line : answer.value(key, ordered_json::array()))
        text += fmt::format("{}{}\n", prefix, line.get<std::string>());
    return text;
}

}  // namespace

std::string shown_text(const std::string& what, const ordered_json& answer) {
    if (what == "flows") return flows_text(answer);
    if (what == "drops") return drops_text(answer);
    const std::vector<Column>* columns = columns_of(what);
    return columns == nullptr ? answer.dump(2) + '\n' : list_text(answer, *columns);
}

std::string changed_text(const ordered_json& answer) {
    const auto changed = answer.value("changed", std::uint64_t{0});
    const std::string warnings = lines_of(answer, "warnings", "warning: ");
    if (!answer.contains("generation")) return warnings + "nothing to change: it is so already\n";
    return warnings +
           fmt::format("{} backend{} changed: in force in every worker, and kept (generation {})\n", changed,
                       changed == 1 ? "" : "s", answer.value("generation", std::uint64_t{0}));
}

std::string reloaded_text(const ordered_json& answer, bool in_force) {
    std::string text = lines_of(answer, "warnings", "") +
                       lines_of(answer, "changes", in_force ? "" : "would change: ") +
                       lines_of(answer, "needs_restart", "needs a restart: ");
    if (in_force)
        return text + fmt::format("in force in every worker (generation {})\n",
                                  answer.value("generation", std::uint64_t{0}));
    const bool nothing = member(answer, "changes").empty() && member(answer, "needs_restart").empty();
    return text + (nothing ? "in order; it would change nothing\n" : "in order\n");
}

}  // namespace weir
