#include "drivers/log_capture.h"

#include <rte_log.h>

#include <cstdlib>

namespace weir {

LogCapture::LogCapture() noexcept : before_(rte_log_get_stream()), stream_(open_memstream(&buffer_, &size_)) {
    if (stream_ != nullptr) rte_openlog_stream(stream_);
}

LogCapture::~LogCapture() {
    rte_openlog_stream(before_);
    if (stream_ != nullptr) std::fclose(stream_);
    std::free(buffer_);
}

std::string LogCapture::text() const {
    if (stream_ == nullptr) return {};
    std::fflush(stream_);
    return {buffer_, size_};
}

std::string LogCapture::quote() const {
    std::string all = text();
    while (!all.empty() && (all.back() == '\n' || all.back() == ' ')) all.pop_back();
    if (all.empty()) return {};
    const auto line_start = all.rfind('\n');
    return " (DPDK: " + (line_start == std::string::npos ? all : all.substr(line_start + 1)) + ")";
}

std::string LogCapture::quote_first() const {
    const std::string all = text();
    const std::string first = all.substr(0, all.find('\n'));
    return first.empty() ? std::string() : " (DPDK: " + first + ")";
}

}  // namespace weir
