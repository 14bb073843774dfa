// Effective configuration = file + journal of run-time changes. A pure function; any thread.
#pragma once

#include <string>
#include <vector>

#include "ctrl/changes/journal_entry.h"
#include "ctrl/config/config.h"

namespace weir {

struct Overlay {
    Config config;
    JournalEntries kept;                // those that the file lets stand
    std::vector<BackendKey> settled;    // entries that are not in `kept` as they were in the journal
    std::vector<std::string> warnings;  // why
};

// `index` is of `file`. The file alone is valid; whether the result is, validate_config says. Pools without
// entries share their backends with the file's.
[[nodiscard]] Overlay overlay(const Config& file, const BackendIndex& index, const JournalEntries& journal);

}  // namespace weir
