#include "tools/weirctl/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace weir {
namespace {

constexpr time_t kPatience = 60;

tl::unexpected<Error> cannot_connect(const std::string& socket, int why) {
    switch (why) {
        case ENOENT:
            return operator_error(fmt::format(
                "{}: there is no such socket: start weir, or give --socket what its control.socket says",
                socket));
        case ECONNREFUSED:
            return operator_error(fmt::format("{}: nobody listens there any more: start weir", socket));
        case EACCES:
            return operator_error(fmt::format(
                "{}: you may not use this socket: become root, or a member of the socket's group", socket));
        default:
            return machine_error(fmt::format("{}: {}", socket, std::strerror(why)));
    }
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::string& socket) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket.size() >= sizeof(address.sun_path))
        return operator_error(
            fmt::format("--socket: a path has at most {} bytes (unix(7))", sizeof(address.sun_path) - 1));
    socket.copy(address.sun_path, socket.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return cannot_connect(socket, errno);
    ControlClient client(socket, fd);
    const timeval patience{kPatience, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        return cannot_connect(socket, errno);
    return client;
}

ControlClient::~ControlClient() {
    if (fd_ >= 0) ::close(fd_);
}

ControlClient::ControlClient(ControlClient&& other) noexcept
    : socket_(std::move(other.socket_)),
      fd_(std::exchange(other.fd_, -1)),
      received_(std::move(other.received_)) {}

Result<void> ControlClient::send(std::string_view bytes) const {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        // What weir said before it closed is worth more than that it closed.
        if (sent < 0 && errno == EPIPE) return {};
        if (sent < 0) return machine_error(fmt::format("{}: {}", socket_, std::strerror(errno)));
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
}

Result<std::string> ControlClient::receive_line() {
    for (;;) {
        const std::size_t end = received_.find('\n');
        if (end != std::string::npos) {
            std::string line = received_.substr(0, end);
            received_.erase(0, end + 1);
            return line;
        }
        char bytes[65'536];
        const ssize_t got = ::recv(fd_, bytes, sizeof(bytes), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return machine_error(
                fmt::format("{}: no answer for {} s: look at weir's log", socket_, kPatience));
        if (got <= 0)
            return machine_error(
                fmt::format("{}: weir has closed the connection without an answer; whether the "
                            "command was carried out, weirctl show tells",
                            socket_));
        received_.append(bytes, static_cast<std::size_t>(got));
    }
}

Result<nlohmann::ordered_json> ControlClient::ask(const Request& request) {
    if (auto sent = send(request_line(request)); !sent) return tl::make_unexpected(sent.error());
    const auto line = receive_line();
    if (!line) return tl::make_unexpected(line.error());
    return read_answer(*line);
}

}  // namespace weir
