#include "drivers/capture_reader.h"

#include <pcap/pcap.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace weir {
namespace {

std::string link_type_name(int link_type) {
    const char* name = pcap_datalink_val_to_name(link_type);
    return name != nullptr ? name : std::to_string(link_type);
}

}  // namespace

Result<CaptureReader> CaptureReader::open(const std::string& path) {
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) return operator_error(path + ": " + std::strerror(errno));
    if (S_ISREG(info.st_mode) && info.st_size == 0)
        return operator_error(path +
                              ": the file is empty: it is not a capture (one without frames has a header)");
    char why[PCAP_ERRBUF_SIZE] = "";
    pcap* file = pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, why);
    if (file == nullptr) return operator_error(path + ": not a pcap or pcapng capture: " + why);
    CaptureReader reader(path, file);
    if (const int link_type = pcap_datalink(file); link_type != DLT_EN10MB)
        return operator_error(
            path + ": its link type is " + link_type_name(link_type) +
            " and weir needs Ethernet (EN10MB): capture on an Ethernet interface, not on \"any\"");
    return reader;
}

CaptureReader::CaptureReader(CaptureReader&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, nullptr)), records_(other.records_) {}

CaptureReader::~CaptureReader() {
    if (file_ != nullptr) pcap_close(file_);
}

Result<std::optional<CapturedFrame>> CaptureReader::next() {
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    const int outcome = pcap_next_ex(file_, &header, &data);
    if (outcome == PCAP_ERROR_BREAK) return std::nullopt;
    if (outcome != 1)
        return operator_error(path_ + ": broken after " + std::to_string(records_) +
                              " frames: " + std::string(pcap_geterr(file_)));
    ++records_;
    // With nanosecond precision libpcap puts nanoseconds into tv_usec. It reads pcap's 32 bits of seconds
    // with a sign, which they do not have.
    const auto seconds = header->ts.tv_sec >= 0 ? static_cast<std::uint64_t>(header->ts.tv_sec)
                                                : static_cast<std::uint32_t>(header->ts.tv_sec);
    return CapturedFrame{seconds * 1'000'000'000u + static_cast<std::uint64_t>(header->ts.tv_usec),
                         header->len, std::span(data, header->caplen)};
}

Result<std::uint64_t> count_records(const std::string& path) {
    auto reader = CaptureReader::open(path);
    if (!reader) return tl::make_unexpected(reader.error());
    for (std::uint64_t count = 0;; ++count) {
        const auto frame = reader->next();
        if (!frame) return tl::make_unexpected(frame.error());
        if (!*frame) return count;
    }
}

}  // namespace weir
