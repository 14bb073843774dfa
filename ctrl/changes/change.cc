#include "ctrl/changes/change.h"

#include "ctrl/changes/json_reader.h"

namespace weir {
namespace {

Change::Kind read_kind(const JsonReader& reader) {
    const std::string word = reader.text("change");
    const auto place = std::ranges::find(kChangeNames, word);
    if (place == kChangeNames.end())
        reader.fail(fmt::format("is {}; allowed: \"add\", \"remove\", \"drain\", \"enable\", \"weight\"",
                                in_quotes(word)));
    return static_cast<Change::Kind>(place - kChangeNames.begin());
}

void allow_keys(const JsonReader& reader, Change::Kind kind) {
    switch (kind) {
        case Change::Kind::add:
            return reader.allow({"change", "pool", "name", "address", "port", "weight", "zone"});
        case Change::Kind::remove:
            return reader.allow({"change", "pool", "name", "now"});
        case Change::Kind::weight:
            return reader.allow({"change", "pool", "name", "weight"});
        default:
            return reader.allow({"change", "pool", "name"});
    }
}

void read_weight(const JsonReader& reader, bool required, unsigned& weight) {
    const auto number = reader.integer("weight", 0, kMaxWeight);
    if (!number && required) reader.fail(fmt::format("needs weight; allowed: 0 to {}", grouped(kMaxWeight)));
    if (number) weight = static_cast<unsigned>(*number);
}

}  // namespace

Result<Change> read_change(const nlohmann::json& json) {
    try {
        const JsonReader reader(json, "a change");
        Change change;
        change.kind = read_kind(reader);
        allow_keys(reader, change.kind);
        change.key = {reader.name("pool"), reader.name("name")};
        if (change.kind == Change::Kind::add) {
            change.address = reader.address("address");
            if (const auto port = reader.integer("port", 1, 65'535))
                change.port = static_cast<std::uint16_t>(*port);
            if (reader.find("zone") != nullptr) change.zone = reader.name("zone");
            read_weight(reader, false, change.weight);
        }
        if (change.kind == Change::Kind::weight) read_weight(reader, true, change.weight);
        change.now = reader.flag("now");
        return change;
    } catch (const JsonMistake& mistake) {
        return operator_error(mistake.what());
    }
}

nlohmann::json to_json(const Change& change) {
    nlohmann::json json = {
        {"change", name_of(change.kind)}, {"pool", change.key.pool}, {"name", change.key.name}};
    if (change.kind == Change::Kind::add) {
        json["address"] = to_text(change.address);
        if (change.port) json["port"] = *change.port;
        if (!change.zone.empty()) json["zone"] = change.zone;
    }
    if (change.kind == Change::Kind::add || change.kind == Change::Kind::weight)
        json["weight"] = change.weight;
    if (change.now) json["now"] = true;
    return json;
}

std::string to_text(const Change& change) {
    std::string text =
        fmt::format("backend {} {} {}", name_of(change.kind), change.key.pool, change.key.name);
    if (change.kind == Change::Kind::weight) text += fmt::format(" {}", change.weight);
    if (change.now) text += " --now";
    if (change.kind != Change::Kind::add) return text;
    const std::string address = to_text(change.address);
    const bool brackets = change.port && !change.address.is_v4();
    text += brackets ? fmt::format(" [{}]", address) : fmt::format(" {}", address);
    if (change.port) text += fmt::format(":{}", *change.port);
    text += fmt::format(" weight {}", change.weight);
    if (!change.zone.empty()) text += fmt::format(" zone {}", change.zone);
    return text;
}

}  // namespace weir
