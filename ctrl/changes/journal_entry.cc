#include "ctrl/changes/journal_entry.h"

#include <fmt/format.h>

#include "ctrl/config/diagnostics.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

constexpr std::string_view kRunTime = "run-time change of ";

std::string shown(const BackendKey& key) {
    return fmt::format("pool {}: backend {}", in_quotes(key.pool), in_quotes(key.name));
}

// "10.1.1.13, port 80, weight 2"
std::string shown(const BackendConfig& backend) {
    return fmt::format("{}, {}, weight {}", to_text(backend.address),
                       backend.port ? fmt::format("port {}", *backend.port) : "no port", backend.weight);
}

BackendConfig backend_of(const Change& change) {
    BackendConfig backend;
    backend.where = run_time_source(change.key);
    backend.name = change.key.name;
    backend.address = change.address;
    backend.port = change.port;
    backend.weight = change.weight;
    backend.zone = change.zone;
    return backend;
}

// One change against one entry. The backend's pool is in the file.
class Entering {
  public:
    Entering(const Change& change, const BackendConfig* from_file, JournalEntry& entry)
        : change_(change), from_file_(from_file), entry_(entry), now_(backend_in_force(from_file, &entry)) {}

    Result<bool> enter() {
        if (change_.kind == Change::Kind::add) return add();
        // What is being drained can still be cut.
        if (!now_ && change_.kind == Change::Kind::remove && change_.now) return false;
        if (!now_)
            return operator_error(fmt::format(
                "{}: there is none of that name; weirctl show backends lists them", shown(change_.key)));
        switch (change_.kind) {
            case Change::Kind::remove:
                return remove();
            case Change::Kind::weight:
                return set_weight();
            default:
                return set_drained(change_.kind == Change::Kind::drain);
        }
    }

  private:
    Result<bool> add() {
        const BackendConfig wanted = backend_of(change_);
        if (now_) {
            BackendConfig in_service = *now_;
            in_service.drained = false;
            in_service.forwarding.reset();  // a change cannot ask for one
            if (in_service != wanted)
                return operator_error(fmt::format(
                    "{}: is there already ({}); remove it first, or give the new one another name",
                    shown(change_.key), shown(*now_)));
            if (now_->drained)
                return operator_error(
                    fmt::format("{}: is there already, drained; weirctl backend enable {} {} "
                                "puts it back into service",
                                shown(change_.key), change_.key.pool, change_.key.name));
            return false;
        }
        entry_ = {};
        // Back to what the file says.
        if (from_file_ != nullptr && *from_file_ == wanted) return true;
        remember_file();
        entry_.added = wanted;
        return true;
    }
    Result<bool> remove() {
        entry_ = {};
        if (from_file_ == nullptr) return true;
        remember_file();
        entry_.removed = true;
        return true;
    }
    Result<bool> set_weight() {
        if (now_->weight == change_.weight) return false;
        if (entry_.added) {
            entry_.added->weight = change_.weight;
            return true;
        }
        remember_file();
        entry_.weight.reset();
        if (from_file_->weight != change_.weight) entry_.weight = change_.weight;
        return true;
    }
    Result<bool> set_drained(bool drained) {
        if (now_->drained == drained) return false;
        if (entry_.added) {
            entry_.added->drained = drained;
            return true;
        }
        remember_file();
        entry_.drained = drained;
        return true;
    }
    void remember_file() {
        entry_.replaced = from_file_ == nullptr ? std::nullopt : std::optional(*from_file_);
    }

    const Change& change_;
    const BackendConfig* from_file_;
    JournalEntry& entry_;
    const std::optional<BackendConfig> now_;
};

// "weir.cfg:14 says 10.1.1.12, port 80, weight 3 now", "the file has it no more".
std::string file_says(const BackendConfig* from_file) {
    if (from_file == nullptr) return "the file has it no more";
    return fmt::format("{} says {} now", from_file->where.text(), shown(*from_file));
}

std::string settle_adjusted(const BackendKey& key, const BackendConfig* from_file, JournalEntry& entry) {
    const bool same_server = from_file != nullptr && from_file->address == entry.replaced->address;
    std::string dropped;
    if (entry.weight && (!same_server || from_file->weight != entry.replaced->weight)) {
        dropped = fmt::format("weight {}", *entry.weight);
        entry.weight.reset();
    }
    if (entry.drained && !same_server) {
        dropped += dropped.empty() ? "drained" : ", drained";
        entry.drained = false;
    }
    if (dropped.empty()) return {};
    return fmt::format("{}: its run-time change ({}) is dropped: {}", shown(key), dropped,
                       file_says(from_file));
}

}  // namespace

SourceLine run_time_source(const BackendKey& key) {
    return {fmt::format("{}{}/{}", kRunTime, key.pool, key.name), 0};
}

std::optional<BackendKey> key_of(const SourceLine& source) {
    const std::size_t slash = source.file.find('/');
    if (source.line != 0 || !source.file.starts_with(kRunTime) || slash == std::string::npos)
        return std::nullopt;
    return BackendKey{source.file.substr(kRunTime.size(), slash - kRunTime.size()),
                      source.file.substr(slash + 1)};
}

std::optional<BackendConfig> backend_in_force(const BackendConfig* from_file, const JournalEntry* entry) {
    if (entry != nullptr && entry->added) return entry->added;
    if (from_file == nullptr || (entry != nullptr && entry->removed)) return std::nullopt;
    std::optional<BackendConfig> backend = *from_file;
    if (entry == nullptr) return backend;
    if (entry->weight) backend->weight = *entry->weight;
    backend->drained = entry->drained;
    return backend;
}

Result<bool> enter(const Change& change, const BackendIndex& file, JournalEntries& entries) {
    if (!file.has_pool(change.key.pool))
        return operator_error(
            fmt::format("there is no pool {}; weirctl show pools lists them", in_quotes(change.key.pool)));
    const auto place = entries.find(change.key);
    JournalEntry entry = place == entries.end() ? JournalEntry{} : place->second;
    auto entered = Entering(change, file.find(change.key), entry).enter();
    if (!entered || !*entered) return entered;
    if (entry.says_nothing())
        entries.erase(change.key);
    else
        entries.insert_or_assign(change.key, std::move(entry));
    return true;
}

std::string settle_with_file(const BackendKey& key, const BackendIndex& file, JournalEntry& entry) {
    const BackendConfig* from_file = file.find(key);
    std::string warning;
    if (!file.has_pool(key.pool)) {
        const char* what = entry.removed ? "was removed" : entry.added ? "was added" : "was changed";
        warning = fmt::format("{}: {} at run time, and the file has no such pool any more: dropped",
                              shown(key), what);
        entry = {};
    } else if (entry.added || entry.removed) {
        const bool same = entry.replaced.has_value() == (from_file != nullptr) &&
                          (from_file == nullptr || *entry.replaced == *from_file);
        if (!same && (entry.added || from_file != nullptr))
            warning =
                fmt::format("{}: its run-time change ({}) is dropped: {}", shown(key),
                            entry.added ? "added " + shown(*entry.added) : "removed", file_says(from_file));
        if (!same) entry = {};
    } else {
        warning = settle_adjusted(key, from_file, entry);
    }
    if (from_file != nullptr && !entry.says_nothing()) entry.replaced = *from_file;
    return warning;
}

}  // namespace weir
