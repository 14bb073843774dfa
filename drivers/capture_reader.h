// Reads the frames of a pcap or pcapng file. One thread per reader.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "drivers/result.h"

struct pcap;

namespace weir {

struct CapturedFrame {
    std::uint64_t time_ns = 0;      // since 1970, as the file says
    std::uint32_t wire_length = 0;  // of the frame as it was; more than bytes.size() if the capture cut it
    std::span<const std::uint8_t> bytes;  // until the next call of next()
};

class CaptureReader {
  public:
    // Error: no such file, not a capture, or not Ethernet.
    static Result<CaptureReader> open(const std::string& path);

    CaptureReader(CaptureReader&& other) noexcept;
    CaptureReader& operator=(CaptureReader&&) = delete;
    ~CaptureReader();

    // The next frame in the file's order; nothing at its end. Error: the file breaks off within a record.
    [[nodiscard]] Result<std::optional<CapturedFrame>> next();
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    CaptureReader(std::string path, pcap* file) noexcept : path_(std::move(path)), file_(file) {}

    std::string path_;
    pcap* file_;
    std::uint64_t records_ = 0;
};

// How many frames the file holds; reads it through.
[[nodiscard]] Result<std::uint64_t> count_records(const std::string& path);

}  // namespace weir
