#include "ctrl/changes/state_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace weir {

Result<StateDirectory> StateDirectory::open(const std::string& path) {
    const bool made = ::mkdir(path.c_str(), 0750) == 0;
    if (!made && errno != EEXIST)
        return operator_error(
            fmt::format("{}: the state directory cannot be made: {}: make it, or change "
                        "control.state_directory",
                        path, std::strerror(errno)));
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return operator_error(
            fmt::format("{}: the state directory cannot be opened: {}: give it to the user that "
                        "weir runs as, or change control.state_directory",
                        path, std::strerror(errno)));
    StateDirectory directory(path, fd);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return machine_error(
                fmt::format("{}: the state directory cannot be locked: {}", path, std::strerror(errno)));
        return operator_error(
            fmt::format("{}: another weir has this state directory: stop it, or give this one another "
                        "control.state_directory",
                        path));
    }
    return directory;
}

StateDirectory::~StateDirectory() {
    if (fd_ >= 0) ::close(fd_);
}

StateDirectory::StateDirectory(StateDirectory&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

std::string StateDirectory::why_read_only() const {
    return ::faccessat(fd_, ".", W_OK, AT_EACCESS) == 0 ? "" : std::strerror(errno);
}

bool StateDirectory::sync() const { return ::fsync(fd_) == 0; }

}  // namespace weir
