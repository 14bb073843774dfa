// control.state_directory, held by one weir: what it must find again after a crash lies there.
#pragma once

#include <cstdint>
#include <string>

#include "drivers/result.h"

namespace weir {

// A directory that this process has locked. The lock ends with the process, however it ends. Move only.
class StateDirectory {
  public:
    // Makes the directory (mode 0750) if only its last part is missing. The error says what to change.
    static Result<StateDirectory> open(const std::string& path);

    ~StateDirectory();
    StateDirectory(StateDirectory&& other) noexcept;
    StateDirectory& operator=(StateDirectory&&) = delete;
    StateDirectory(const StateDirectory&) = delete;

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    // Names in it, for openat() and renameat().
    [[nodiscard]] int fd() const noexcept { return fd_; }
    // Why nothing can be written there ("Read-only file system"), or empty.
    [[nodiscard]] std::string why_read_only() const;
    // Makes names durable, not only contents.
    [[nodiscard]] bool sync() const;

  private:
    StateDirectory(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

    std::string path_;
    int fd_;
};

}  // namespace weir
