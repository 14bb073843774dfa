// The listening end of the control socket: a unix socket that only its owner and group may use.
#pragma once

#include <string>

#include "drivers/result.h"

namespace weir {

// Move only.
class ControlSocket {
  public:
    // Makes the socket (mode 0660), and its directory (0750) if only that is missing. A socket that a dead
    // weir has left is replaced; one that somebody listens on, or another kind of file, is refused. Two weirs
    // cannot meet here: each holds a lock on PATH.lock, which stays when weir ends.
    static Result<ControlSocket> open(const std::string& path);

    // Takes the socket's name away.
    ~ControlSocket();
    ControlSocket(ControlSocket&& other) noexcept;
    ControlSocket& operator=(ControlSocket&&) = delete;
    ControlSocket(const ControlSocket&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    explicit ControlSocket(std::string path) : path_(std::move(path)) {}
    Result<void> lock();
    [[nodiscard]] Result<void> remove_stale() const;
    Result<void> bind();

    std::string path_;
    int lock_ = -1, fd_ = -1;
};

}  // namespace weir
