#include "ctrl/changes/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "ctrl/config/read_file.h"

namespace weir {
namespace {

constexpr const char* kTemporary = "changes.journal.new";
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

// 0, or errno.
int write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return 0;
}

}  // namespace

Result<Journal> Journal::open(const StateDirectory& directory, const Notify& notify) {
    Journal journal(directory);
    struct stat status {};
    if (::fstatat(directory.fd(), kName, &status, 0) != 0 && errno == ENOENT) return journal;
    const auto text = read_file(journal.path(), kMaxBytes);
    if (!text)
        return tl::make_unexpected(
            Error{fmt::format("{}: {}", journal.path(), text.error().message), text.error().cause});
    auto read = read_journal_text(*text, journal.path());
    if (!read) return tl::make_unexpected(read.error());
    journal.entries_ = std::move(read->entries);
    if (read->torn != 0) {
        notify(Severity::warning,
               fmt::format(
                   "{}: the last {} bytes are half a change that nobody was told of, from a weir that was "
                   "killed: dropped",
                   journal.path(), read->torn));
        return journal;  // not to be appended to: the first write makes it anew
    }
    journal.fd_ = ::openat(directory.fd(), kName, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    journal.size_ = text->size();
    return journal;
}

Journal::~Journal() {
    if (fd_ >= 0) ::close(fd_);
}

Journal::Journal(Journal&& other) noexcept
    : directory_(other.directory_),
      entries_(std::move(other.entries_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      whole_size_(other.whole_size_) {}

tl::unexpected<Error> Journal::failed(const char* what, int why) const {
    return machine_error(fmt::format(
        "{}: the journal of run-time changes cannot be {}: {}; nothing was changed, make room or make the "
        "directory writable and try again",
        path(), what, std::strerror(why)));
}

Result<void> Journal::write(const JournalWrite& change) {
    const bool grown = size_ + change.line.size() > kMinCompacted + 2 * whole_size_;
    if (fd_ < 0 || grown) return rewrite(*change.entries);
    return append(change.line);
}

Result<void> Journal::append(const std::string& line) {
    int why = write_all(fd_, line);
    const bool written = why == 0;
    if (written && ::fdatasync(fd_) == 0) {
        size_ += line.size();
        return {};
    }
    if (written) why = errno;
    const bool undone = ::ftruncate(fd_, static_cast<off_t>(size_)) == 0 && ::fdatasync(fd_) == 0;
    // After a failed fdatasync the kernel may call pages clean that never reached the disk.
    if (!undone || written) ::close(std::exchange(fd_, -1));
    return failed("written", why);
}

Result<void> Journal::rewrite(const JournalEntries& entries) {
    const std::string text = journal_of(entries);
    ::unlinkat(directory_->fd(), kTemporary, 0);
    const int fresh = ::openat(directory_->fd(), kTemporary,
                               O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fresh < 0) return failed("made", errno);
    int why = write_all(fresh, text);
    if (why == 0 && ::fsync(fresh) != 0) why = errno;
    if (why == 0 && ::renameat(directory_->fd(), kTemporary, directory_->fd(), kName) != 0) why = errno;
    if (why != 0) {
        ::close(fresh);
        ::unlinkat(directory_->fd(), kTemporary, 0);
        return failed("written", why);
    }
    if (fd_ >= 0) ::close(fd_);
    fd_ = fresh;
    size_ = whole_size_ = text.size();
    if (directory_->sync()) return {};
    // It is in place and may not stay: the next write makes it anew, without what is refused here.
    why = errno;
    ::close(std::exchange(fd_, -1));
    return failed("made durable", why);
}

}  // namespace weir
