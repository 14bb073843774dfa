#include "ctrl/changes/journal_text.h"

#include <zlib.h>

#include "ctrl/changes/json_reader.h"

namespace weir {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "weir run-time changes";
// Of entries in one line of a whole journal: a line is parsed at once.
constexpr std::size_t kEntriesPerLine = 1'000;

std::string checksum(std::string_view text) {
    const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size());
    return fmt::format("{:08x}", static_cast<std::uint32_t>(crc));
}

json backend_json(const BackendConfig& backend) {
    json object = {{"address", to_text(backend.address)}, {"weight", backend.weight}};
    if (backend.port) object["port"] = *backend.port;
    if (!backend.zone.empty()) object["zone"] = backend.zone;
    if (backend.forwarding) object["forwarding"] = name_of(*backend.forwarding);
    if (backend.drained) object["drained"] = true;
    return object;
}

BackendConfig read_backend(const json& object, const BackendKey& key) {
    const JsonReader reader(object, "a backend");
    reader.allow({"address", "weight", "port", "zone", "forwarding", "drained"});
    BackendConfig backend;
    backend.where = run_time_source(key);
    backend.name = key.name;
    backend.address = reader.address("address");
    if (const auto weight = reader.integer("weight", 0, kMaxWeight))
        backend.weight = static_cast<unsigned>(*weight);
    if (const auto port = reader.integer("port", 1, 65'535)) backend.port = static_cast<std::uint16_t>(*port);
    if (reader.find("zone") != nullptr) backend.zone = reader.name("zone");
    backend.drained = reader.flag("drained");
    if (reader.find("forwarding") == nullptr) return backend;
    const std::string mode = reader.text("forwarding");
    const auto place = std::ranges::find(kForwardingModeNames, mode);
    if (place == kForwardingModeNames.end()) reader.fail("forwarding is no mode");
    backend.forwarding = static_cast<ForwardingMode>(place - kForwardingModeNames.begin());
    return backend;
}

json entry_json(const BackendKey& key, const JournalEntry& entry) {
    json object = {{"pool", key.pool}, {"name", key.name}};
    if (entry.added) object["added"] = backend_json(*entry.added);
    if (entry.removed) object["removed"] = true;
    if (entry.weight) object["weight"] = *entry.weight;
    if (entry.drained) object["drained"] = true;
    if (entry.replaced && !entry.says_nothing()) object["replaced"] = backend_json(*entry.replaced);
    return object;
}

void read_entry(const json& object, JournalEntries& entries) {
    const JsonReader reader(object, "an entry");
    reader.allow({"pool", "name", "added", "removed", "weight", "drained", "replaced"});
    const BackendKey key{reader.name("pool"), reader.name("name")};
    JournalEntry entry;
    if (const json* added = reader.find("added")) entry.added = read_backend(*added, key);
    if (const json* replaced = reader.find("replaced")) entry.replaced = read_backend(*replaced, key);
    entry.removed = reader.flag("removed");
    entry.drained = reader.flag("drained");
    if (const auto weight = reader.integer("weight", 0, kMaxWeight))
        entry.weight = static_cast<unsigned>(*weight);
    const bool adjusted = entry.weight || entry.drained;
    if (entry.added.has_value() + entry.removed + adjusted > 1) reader.fail("is of two kinds");
    if ((entry.removed || adjusted) && !entry.replaced) reader.fail("does not say what it replaced");
    if (entry.says_nothing())
        entries.erase(key);
    else
        entries.insert_or_assign(key, std::move(entry));
}

void read_line(std::string_view line, JournalEntries& entries) {
    const json object = json::parse(line, nullptr, false);
    // To the parser a NUL byte is the end.
    if (object.is_discarded() || line.find('\0') != std::string_view::npos) throw JsonMistake("is no JSON");
    const JsonReader reader(object, "the line");
    reader.allow({"crc32", "entries"});
    const json* list = reader.find("entries");
    if (list == nullptr || !list->is_array()) reader.fail("has no list of entries");
    // Bytes that are no UTF-8 fail the comparison; dump() would throw.
    const std::string text = list->dump(-1, ' ', false, json::error_handler_t::replace);
    if (reader.text("crc32") != checksum(text)) reader.fail("has another checksum than it says");
    for (const json& entry : *list) read_entry(entry, entries);
}

Result<void> read_first_line(std::string_view line, const std::string& path) {
    const json object = json::parse(line, nullptr, false);
    const bool ours = object.is_object() && object.contains("format") && object["format"] == kFormat &&
                      object.contains("version") && object["version"].is_number_unsigned();
    if (!ours)
        return operator_error(
            fmt::format("{}:1: is no journal of weir's run-time changes; move it away to start "
                        "with the configuration file alone",
                        path));
    if (object["version"] != kJournalVersion)
        return operator_error(
            fmt::format("{}:1: has format version {}, and this weir reads version {}; run the weir that "
                        "wrote it, or move it "
                        "away to start with the configuration file alone",
                        path, object["version"].dump(), kJournalVersion));
    return {};
}

template <class Entries>
std::string line_of(const Entries& list) {
    const std::string text = list.dump();
    return fmt::format("{{\"crc32\":\"{}\",\"entries\":{}}}\n", checksum(text), text);
}

}  // namespace

Result<JournalText> read_journal_text(std::string_view text, const std::string& path) {
    JournalText journal;
    const auto take_line = [&text] {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(line.size() + 1);
        return line;
    };
    // A journal is created whole: one without a first line, even an empty file, has lost something.
    const bool has_first = text.find('\n') != std::string_view::npos;
    if (auto first = read_first_line(has_first ? take_line() : std::string_view(), path); !first)
        return tl::make_unexpected(first.error());
    for (std::size_t number = 2; text.find('\n') != std::string_view::npos; ++number) {
        try {
            read_line(take_line(), journal.entries);
        } catch (const JsonMistake& mistake) {
            return operator_error(
                fmt::format("{}:{}: {}: the journal of run-time changes is damaged; put back a copy of it, "
                            "or cut it off before "
                            "that line (changes from there on are lost), or move it away to start with the "
                            "configuration file "
                            "alone",
                            path, number, mistake.what()));
        }
    }
    journal.torn = text.size();
    return journal;
}

std::string journal_line(const std::vector<BackendKey>& keys, const JournalEntries& entries) {
    json list = json::array();
    for (const BackendKey& key : keys) {
        const auto entry = entries.find(key);
        list.push_back(entry_json(key, entry == entries.end() ? JournalEntry{} : entry->second));
    }
    return line_of(list);
}

std::string journal_of(const JournalEntries& entries) {
    std::string text = json{{"format", kFormat}, {"version", kJournalVersion}}.dump() + '\n';
    json list = json::array();
    for (const auto& [key, entry] : entries) {
        list.push_back(entry_json(key, entry));
        if (list.size() < kEntriesPerLine) continue;
        text += line_of(list);
        list = json::array();
    }
    if (!list.empty()) text += line_of(list);
    return text;
}

}  // namespace weir
