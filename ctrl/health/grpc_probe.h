// grpc: grpc.health.v1.Health/Check over HTTP/2 without TLS says SERVING; of another method the call's status
// code matches.
#pragma once

#include <optional>

#include "ctrl/health/curl_probe.h"

namespace weir {

class GrpcProbe final : public CurlProbe {
  public:
    using CurlProbe::CurlProbe;

  private:
    void set_options() override;
    bool on_header(std::string_view line) override;
    bool on_body(std::string_view part) override;
    Verdict judge() override;

    std::string request_, message_;
    std::optional<unsigned> code_;  // grpc-status, which comes in the trailer, or alone
};

}  // namespace weir
