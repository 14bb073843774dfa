// Keeps what DPDK logs while it lives, so that an error can quote DPDK's own words. Afterwards DPDK logs to
// stderr. Main thread only, one at a time.
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
    char* buffer_ = nullptr;
    std::size_t size_ = 0;
    std::FILE* stream_;
};

}  // namespace weir
