// Keeps what DPDK logs while it lives, so that an error can quote DPDK's own words. Afterwards DPDK logs to
// where it did before: stderr, or an outer capture. Main thread only.
#pragma once

#include <cstdio>
#include <string>

namespace weir {

class LogCapture {
  public:
    LogCapture() noexcept;
    LogCapture(const LogCapture&) = delete;
    LogCapture& operator=(const LogCapture&) = delete;
    ~LogCapture();

    [[nodiscard]] std::string text() const;
    // The last line as " (DPDK: ...)" to stand at the end of a sentence; empty if nothing was logged.
    [[nodiscard]] std::string quote() const;
    // The first line likewise: where a driver says why, and those that called it then say that they failed.
    [[nodiscard]] std::string quote_first() const;

  private:
    std::FILE* before_;
    char* buffer_ = nullptr;
    std::size_t size_ = 0;
    std::FILE* stream_;
};

}  // namespace weir
