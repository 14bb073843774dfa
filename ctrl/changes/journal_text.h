// The journal of run-time changes as text: JSON, one line for each change or batch of changes.
//
//   {"format":"weir run-time changes","version":1}
//   {"crc32":"9ae0daaf","entries":[{"pool":"web","name":"a","added":{"address":"10.1.1.13","weight":1}}]}
//   {"crc32":"…","entries":[{"pool":"web","name":"b","removed":true,"replaced":{…}},{"pool":"web","name":"a"}]}
//
// Each line holds the entries that it changed, whole, as they are from then on; an entry that says nothing is
// no more. The checksum (zlib's crc32) is that of the list's compact text. Reading them in order gives the
// entries in force, and the same entries in one line are the same journal.
//
// A line counts from its line feed on. Text behind the last line feed is what a writer that was killed left
// of a line that nobody was told of: it is dropped. Anything else that cannot be read is damage.
//
// Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ctrl/changes/journal_entry.h"
#include "drivers/result.h"

namespace weir {

inline constexpr unsigned kJournalVersion = 1;

struct JournalText {
    JournalEntries entries;
    std::size_t torn = 0;  // bytes behind the last line feed
};

// `path` begins the error's sentence.
[[nodiscard]] Result<JournalText> read_journal_text(std::string_view text, const std::string& path);

// The line that says what the entries of `keys` are now.
[[nodiscard]] std::string journal_line(const std::vector<BackendKey>& keys, const JournalEntries& entries);
// A whole journal.
[[nodiscard]] std::string journal_of(const JournalEntries& entries);

}  // namespace weir
