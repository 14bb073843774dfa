// The little of gRPC that a health check needs: grpc.health.v1 (github.com/grpc/grpc, health.proto) in
// protobuf's wire format, and the frame of 5 bytes around each message (gRPC over HTTP2,
// Length-Prefixed-Message).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir {

// HealthCheckRequest { string service = 1; }, framed.
[[nodiscard]] std::string grpc_health_request(std::string_view service);

// HealthCheckResponse.ServingStatus, which is 0 if the message is empty. Absent: `frame` is no uncompressed
// frame of one such message.
[[nodiscard]] std::optional<unsigned> grpc_serving_status(std::string_view frame);
inline constexpr unsigned kGrpcServing = 1;

// "NOT_SERVING"; a number beyond those that are defined stays one.
[[nodiscard]] std::string grpc_serving_name(unsigned status);
// Of grpc-status: "UNIMPLEMENTED".
[[nodiscard]] std::string grpc_code_name(unsigned code);

}  // namespace weir
