#include "ctrl/config/read_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir {
namespace {

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return fd_; }

  private:
    int fd_;
};

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
    if (path.find('\0') != std::string::npos) return operator_error("a file name cannot hold a NUL byte");
    // O_NONBLOCK: opening a pipe that nobody writes must not hang the caller.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) return operator_error(fmt::format("cannot open the file: {}", std::strerror(errno)));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0)
        return machine_error(fmt::format("cannot examine the file: {}", std::strerror(errno)));
    if (S_ISDIR(status.st_mode)) return operator_error("is a folder; name a file in it");
    if (!S_ISREG(status.st_mode)) return operator_error("is not a regular file");

    std::string text;
    char block[65'536];
    for (;;) {
        const ssize_t got = ::read(file.get(), block, sizeof(block));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return machine_error(fmt::format("cannot read the file: {}", std::strerror(errno)));
        if (got == 0) return text;
        text.append(block, static_cast<std::size_t>(got));
        if (text.size() > max_bytes)
            return operator_error(fmt::format("is larger than {} MiB, the limit", max_bytes >> 20));
    }
}

}  // namespace weir
