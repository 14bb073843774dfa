#include "ctrl/changes/overlay.h"

#include <algorithm>

namespace weir {
namespace {

// The entries of one pool, first to last.
void overlay_pool(const BackendIndex& index, JournalEntries::const_iterator first,
                  JournalEntries::const_iterator last, PoolConfig& pool) {
    std::vector<BackendConfig>& backends = pool.backends.change();
    std::vector<std::size_t> removed;
    std::vector<BackendConfig> added;
    for (auto entry = first; entry != last; ++entry) {
        const BackendConfig* from_file = index.find(entry->first);
        auto backend = backend_in_force(from_file, &entry->second);
        if (from_file == nullptr) {
            if (backend) added.push_back(std::move(*backend));
            continue;
        }
        const std::size_t place = index.place(entry->first);
        if (backend)
            backends[place] = std::move(*backend);
        else
            removed.push_back(place);
    }
    std::ranges::sort(removed);
    std::size_t place = 0;
    auto next = removed.begin();
    std::erase_if(backends, [&](const BackendConfig&) {
        if (next == removed.end() || *next != place++) return false;
        ++next;
        return true;
    });
    std::ranges::move(added, std::back_inserter(backends));
}

}  // namespace

Overlay overlay(const Config& file, const BackendIndex& index, const JournalEntries& journal) {
    Overlay result;
    result.config = file;
    for (const auto& [key, entry] : journal) {
        JournalEntry settled = entry;
        std::string warning = settle_with_file(key, index, settled);
        if (!warning.empty()) result.warnings.push_back(std::move(warning));
        if (settled != entry) result.settled.push_back(key);
        if (!settled.says_nothing()) result.kept.emplace_hint(result.kept.end(), key, std::move(settled));
    }
    for (auto first = result.kept.cbegin(); first != result.kept.cend();) {
        const std::string& pool = first->first.pool;
        const auto last = std::find_if(first, result.kept.cend(),
                                       [&](const auto& entry) { return entry.first.pool != pool; });
        overlay_pool(index, first, last, result.config.pools[index.pool_place(pool)]);
        first = last;
    }
    return result;
}

}  // namespace weir
