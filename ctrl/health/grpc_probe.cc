#include "ctrl/health/grpc_probe.h"

#include <fmt/format.h>

#include <charconv>

#include "ctrl/health/grpc_health.h"
#include "ctrl/health/status_matcher.h"

namespace weir {
namespace {

constexpr std::string_view kHealthCheck = "/grpc.health.v1.Health/Check";
constexpr std::string_view kStatus = "grpc-status:";
constexpr std::size_t kMostMessage = 4 << 10;
constexpr unsigned kHttpOk = 200, kGrpcOk = 0;

}  // namespace

void GrpcProbe::set_options() {
    request_ = grpc_health_request(spec().grpc_service);
    set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE});
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDS, request_.data());
    set(CURLOPT_POSTFIELDSIZE, static_cast<long>(request_.size()));
    set(CURLOPT_UPLOAD_BUFFERSIZE, 16'384L);  // libcurl's least
    add_header("Content-Type: application/grpc");
    add_header("TE: trailers");
}

bool GrpcProbe::on_header(std::string_view line) {
    if (!line.starts_with(kStatus)) return true;  // HTTP/2's names are in lower case (RFC 9113 8.2)
    line.remove_prefix(std::min(line.find_first_not_of(' ', kStatus.size()), line.size()));
    unsigned code = 0;
    if (std::from_chars(line.data(), line.data() + line.size(), code).ec == std::errc{}) code_ = code;
    return true;
}

bool GrpcProbe::on_body(std::string_view part) {
    message_ += part;
    return message_.size() <= kMostMessage;
}

Verdict GrpcProbe::judge() {
    using enum ProbeOutcome;
    if (status() != kHttpOk) return {mismatch, fmt::format("HTTP {}: no gRPC there?", status())};
    if (message_.size() > kMostMessage) return {failed, "answers more than a probe reads"};
    if (!code_) return {failed, "answer lacks grpc-status"};
    if (!matches(spec().matcher, *code_))
        return {mismatch, fmt::format("gRPC code {} {}", *code_, grpc_code_name(*code_))};
    if (spec().path != kHealthCheck || *code_ != kGrpcOk)
        return {success, fmt::format("gRPC code {} {}", *code_, grpc_code_name(*code_))};
    const auto serving = grpc_serving_status(message_);
    if (!serving) return {failed, "answer is not a HealthCheckResponse"};
    return {*serving == kGrpcServing ? success : mismatch,
            fmt::format("gRPC status {}", grpc_serving_name(*serving))};
}

}  // namespace weir
