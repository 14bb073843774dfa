#include "ctrl/health/http_probe.h"

#include <fmt/format.h>

#include "ctrl/config/diagnostics.h"
#include "ctrl/health/status_matcher.h"

namespace weir {
namespace {

constexpr std::size_t kMostBody = 32 << 10;

}  // namespace

void HttpProbe::set_options() {
    set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
    if (spec().method == "HEAD") set(CURLOPT_NOBODY, 1L);
    add_header("Connection: close");
}

bool HttpProbe::on_header(std::string_view line) {
    if (line != "\r\n" && line != "\n") return true;
    const unsigned code = status();
    if (code < 200) return true;  // RFC 9110 15.2: interim, the answer is yet to come
    return !spec().body.empty() && matches(spec().matcher, code);
}

bool HttpProbe::on_body(std::string_view part) {
    searched_ += part.size();
    tail_ += part;
    found_ = tail_.find(spec().body) != std::string::npos;
    if (found_ || searched_ > kMostBody) return false;
    if (tail_.size() >= spec().body.size()) tail_.erase(0, tail_.size() - spec().body.size() + 1);
    return true;
}

Verdict HttpProbe::judge() {
    const unsigned code = status();
    if (!matches(spec().matcher, code)) return {ProbeOutcome::mismatch, fmt::format("HTTP {}", code)};
    if (spec().body.empty() || found_) return {ProbeOutcome::success, fmt::format("HTTP {}", code)};
    return {ProbeOutcome::mismatch,
            fmt::format("HTTP {}, but {} lacks {}", code,
                        searched_ > kMostBody ? "the body's first 32 KiB" : "body", in_quotes(spec().body))};
}

}  // namespace weir
