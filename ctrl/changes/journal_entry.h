// What run-time changes say of one backend: an entry of the journal, and what becomes of it.
//
// An entry is the sum of all changes of its backend so far, never a history: `weight 5` after `weight 3` is
// one entry, and a change that leads back to what the file says leaves none. There are three kinds:
//
//   added    a backend that the file lacks, or that stands in the place of a removed one of the file's
//   removed  a backend of the file's that is not there
//   adjusted a backend of the file's with another weight, or drained, or both
//
// Each remembers the file's value that it replaced. When the file is read again, at a reload or a start:
//
//   entry                the file's value that counts    value as before   value changed
//   added                whether it has the name; if it  kept              dropped, warning: what the file
//   says
//                        had: the whole entry                              holds, also when it says the same
//   removed              the whole entry                 kept              dropped, warning: the backend is
//   there
//                                                                          again, as the file has it
//     and the file lacks the backend now                                   dropped, nothing to warn of
//   adjusted: weight     address and weight              kept              dropped, warning
//   adjusted: drained    address                         kept              dropped, warning: in service
//   any, and the file lacks the pool now                                   dropped, warning
//
// A weight and a drain of one backend are judged apart. Plain values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "ctrl/changes/backend_index.h"
#include "ctrl/changes/change.h"
#include "ctrl/config/config.h"
#include "drivers/result.h"

namespace weir {

struct JournalEntry {
    std::optional<BackendConfig> replaced;  // the file's; absent: it has none of that name
    std::optional<BackendConfig> added;     // its own weight and drain are in it
    bool removed = false;
    std::optional<unsigned> weight;
    bool drained = false;

    [[nodiscard]] bool says_nothing() const { return !added && !removed && !weight && !drained; }
    bool operator==(const JournalEntry&) const = default;
};

using JournalEntries = std::map<BackendKey, JournalEntry>;

// Where a backend comes from that no file has, for messages and to find its entry by: no name has a slash.
[[nodiscard]] SourceLine run_time_source(const BackendKey& key);
// The key, if run_time_source() made it.
[[nodiscard]] std::optional<BackendKey> key_of(const SourceLine& source);

// The backend in force: the file's, or what the entry makes of it. `entry` may be null.
[[nodiscard]] std::optional<BackendConfig> backend_in_force(const BackendConfig* from_file,
                                                            const JournalEntry* entry);

// Puts `change` into `entries`. False: it asks for what is so already. An error says why it cannot be, and
// changes nothing.
[[nodiscard]] Result<bool> enter(const Change& change, const BackendIndex& file, JournalEntries& entries);

// Takes out of an entry what the file, as it is now, does not let stand, and remembers the file's value anew.
// Returns the warning, or nothing. What is left may say nothing.
[[nodiscard]] std::string settle_with_file(const BackendKey& key, const BackendIndex& file,
                                           JournalEntry& entry);

}  // namespace weir
