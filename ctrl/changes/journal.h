// The journal of run-time changes on disk: STATE_DIRECTORY/changes.journal (journal_text.h says what is in
// it).
//
// Durability. A write returns once the change would survive a loss of power: appended and fdatasync'ed, or,
// for a new file and for compaction, written beside it, fsync'ed, renamed over it, and the directory
// fsync'ed. At every moment the file is the journal before the write or after it, or the one before with a
// torn last line, which reading drops. A write that fails (disk full, read-only) leaves the journal as it
// was: what is there of the line is cut off; where even that fails, or the kernel could not say what reached
// the disk, the next write makes the file anew.
//
// Bounded: what entries no longer say is taken out when it is more than half of the file (compaction).
//
// open() on the control thread; writes on any one thread at a time: they block for as long as the disk does.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "ctrl/changes/journal_text.h"
#include "ctrl/changes/state_directory.h"
#include "ctrl/notify.h"
#include "drivers/result.h"

namespace weir {

// What to write: the line, and the whole journal if the file has to be made anew.
struct JournalWrite {
    std::string line;
    std::shared_ptr<const JournalEntries> entries;  // all that are in force with it
};

class Journal {
  public:
    static constexpr const char* kName = "changes.journal";
    // Below, a journal is never compacted.
    static constexpr std::size_t kMinCompacted = std::size_t{256} << 10;

    // Reads what is there; a torn last line is a warning. An error is damage: weir must not start without
    // changes that it has acknowledged. `directory` outlives this.
    static Result<Journal> open(const StateDirectory& directory, const Notify& notify);
    ~Journal();
    Journal(Journal&& other) noexcept;
    Journal& operator=(Journal&&) = delete;
    Journal(const Journal&) = delete;

    // What open() has read. Leaves none.
    [[nodiscard]] JournalEntries take_entries() { return std::move(entries_); }
    // An error: nothing is written, and the sentence says why.
    Result<void> write(const JournalWrite& change);
    // Makes the file anew.
    Result<void> rewrite(const JournalEntries& entries);
    [[nodiscard]] std::string path() const { return directory_->path() + "/" + kName; }

  private:
    explicit Journal(const StateDirectory& directory) : directory_(&directory) {}
    Result<void> append(const std::string& line);
    [[nodiscard]] tl::unexpected<Error> failed(const char* what, int why) const;

    const StateDirectory* directory_;
    JournalEntries entries_;
    int fd_ = -1;                 // of the file, once it may be appended to
    std::size_t size_ = 0;        // of the file
    std::size_t whole_size_ = 0;  // when it was made anew last
};

}  // namespace weir
