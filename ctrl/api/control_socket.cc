#include "ctrl/api/control_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace weir {
namespace {

constexpr mode_t kMode = 0660;
constexpr int kBacklog = 128;

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return address;
}

const sockaddr* generic(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

int unix_socket() { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

// 0 if somebody listens there, else errno.
int try_to_connect(const std::string& path) {
    const int client = unix_socket();
    if (client < 0) return errno;
    const sockaddr_un address = address_of(path);
    const int why = ::connect(client, generic(address), sizeof(address)) == 0 ? 0 : errno;
    ::close(client);
    return why == EAGAIN ? 0 : why;  // its backlog is full
}

tl::unexpected<Error> cannot(const std::string& path, const char* what) {
    return operator_error(
        fmt::format("{}: the control socket cannot be {}: {}: change that, or control.socket", path, what,
                    std::strerror(errno)));
}

}  // namespace

Result<void> ControlSocket::lock() {
    const std::string name = path_ + ".lock";
    lock_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock_ < 0) return cannot(path_, "locked");
    if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return {};
    if (errno != EWOULDBLOCK) return cannot(path_, "locked");
    return operator_error(fmt::format(
        "{}: another weir listens there: stop it, or give this one another control.socket", path_));
}

// Under the lock: a socket that nobody listens on is a dead weir's.
Result<void> ControlSocket::remove_stale() const {
    struct stat status {};
    if (::lstat(path_.c_str(), &status) != 0) {
        if (errno == ENOENT) return {};
        return cannot(path_, "made");
    }
    if (!S_ISSOCK(status.st_mode))
        return operator_error(fmt::format(
            "{}: there is a file of another kind: move it away, or change control.socket", path_));
    const int why = try_to_connect(path_);
    if (why == 0)
        return operator_error(
            fmt::format("{}: another program listens there: stop it, or change control.socket", path_));
    if (why != ECONNREFUSED) {
        errno = why;
        return cannot(path_, "examined");
    }
    if (::unlink(path_.c_str()) != 0) return cannot(path_, "replaced");
    return {};
}

// The mode is the socket's from its first moment on: that of the descriptor less the umask, which can only be
// narrower; then the group's part is put back.
Result<void> ControlSocket::bind() {
    fd_ = unix_socket();
    if (fd_ < 0) return machine_error(fmt::format("no socket: {}", std::strerror(errno)));
    const sockaddr_un address = address_of(path_);
    if (::fchmod(fd_, kMode) != 0 || ::bind(fd_, generic(address), sizeof(address)) != 0) {
        const int why = errno;
        ::close(std::exchange(fd_, -1));
        errno = why;
        return cannot(path_, "made");
    }
    if (::chmod(path_.c_str(), kMode) != 0 || ::listen(fd_, kBacklog) != 0) return cannot(path_, "opened");
    return {};
}

Result<ControlSocket> ControlSocket::open(const std::string& path) {
    ControlSocket socket(path);
    // If this fails, what follows says why.
    (void)::mkdir(std::filesystem::path(path).parent_path().c_str(), 0750);
    if (auto step = socket.lock(); !step) return tl::make_unexpected(step.error());
    if (auto step = socket.remove_stale(); !step) return tl::make_unexpected(step.error());
    if (auto step = socket.bind(); !step) return tl::make_unexpected(step.error());
    return socket;
}

ControlSocket::~ControlSocket() {
    if (fd_ >= 0) {
        ::unlink(path_.c_str());
        ::close(fd_);
    }
    if (lock_ >= 0) ::close(lock_);
}

ControlSocket::ControlSocket(ControlSocket&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      fd_(std::exchange(other.fd_, -1)) {}

}  // namespace weir
