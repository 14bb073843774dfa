// Writes frames into a pcap file with nanoseconds, in this machine's byte order. The same calls give the same
// bytes: no clock is read. One thread per writer.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "drivers/result.h"

struct pcap;
struct pcap_dumper;

namespace weir {

class CaptureWriter {
  public:
    // Replaces the file. Error: it cannot be written.
    static Result<CaptureWriter> create(const std::string& path);

    CaptureWriter(CaptureWriter&& other) noexcept;
    CaptureWriter& operator=(CaptureWriter&&) = delete;
    ~CaptureWriter();  // closes; close() tells whether that went well

    // `wire_length` 0: the bytes are the whole frame. Times before 2106 (pcap has 32 bits of seconds).
    void write(std::uint64_t time_ns, std::span<const std::uint8_t> bytes, std::uint32_t wire_length = 0);
    void write(std::uint64_t time_ns, const rte_mbuf& frame);

    // Error: something did not get onto the disk. Nothing may be written afterwards.
    [[nodiscard]] Result<void> close();
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    CaptureWriter(std::string path, pcap* format, pcap_dumper* file) noexcept
        : path_(std::move(path)), format_(format), file_(file) {}

    std::string path_;
    pcap* format_;
    pcap_dumper* file_;
};

}  // namespace weir
