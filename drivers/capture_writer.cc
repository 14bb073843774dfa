#include "drivers/capture_writer.h"

#include <pcap/pcap.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "drivers/mbuf_bytes.h"

namespace weir {
namespace {

constexpr int kSnapLength = 262'144;  // libpcap's own maximum

}  // namespace

Result<CaptureWriter> CaptureWriter::create(const std::string& path) {
    pcap* format = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, kSnapLength, PCAP_TSTAMP_PRECISION_NANO);
    if (format == nullptr) return machine_error(path + ": no memory to write a capture");
    pcap_dumper* file = pcap_dump_open(format, path.c_str());
    if (file == nullptr) {
        const std::string why = pcap_geterr(format);
        pcap_close(format);
        return operator_error("the capture cannot be written: " + why);
    }
    return CaptureWriter(path, format, file);
}

CaptureWriter::CaptureWriter(CaptureWriter&& other) noexcept
    : path_(std::move(other.path_)),
      format_(std::exchange(other.format_, nullptr)),
      file_(std::exchange(other.file_, nullptr)) {}

CaptureWriter::~CaptureWriter() {
    if (file_ != nullptr) pcap_dump_close(file_);
    if (format_ != nullptr) pcap_close(format_);
}

void CaptureWriter::write(std::uint64_t time_ns, std::span<const std::uint8_t> bytes,
                          std::uint32_t wire_length) {
    pcap_pkthdr header{};
    header.ts.tv_sec = static_cast<time_t>(time_ns / 1'000'000'000u);
    header.ts.tv_usec = static_cast<suseconds_t>(time_ns % 1'000'000'000u);
    header.caplen = static_cast<bpf_u_int32>(bytes.size());
    header.len = wire_length != 0 ? wire_length : header.caplen;
    pcap_dump(reinterpret_cast<u_char*>(file_), &header, bytes.data());
}

void CaptureWriter::write(std::uint64_t time_ns, const rte_mbuf& frame) {
    if (frame.nb_segs == 1) {
        write(time_ns, std::span(rte_pktmbuf_mtod(&frame, const std::uint8_t*), frame.data_len));
    } else {
        write(time_ns, bytes_of(frame));
    }
}

Result<void> CaptureWriter::close() {
    // pcap_dump reports nothing; its stream remembers.
    const bool written = pcap_dump_flush(file_) == 0 && std::ferror(pcap_dump_file(file_)) == 0;
    const int why = errno;
    pcap_dump_close(std::exchange(file_, nullptr));
    if (!written) return machine_error(path_ + ": the capture is not complete: " + std::strerror(why));
    return {};
}

}  // namespace weir
