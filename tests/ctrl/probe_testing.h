// Specs for tests of probes.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "ctrl/health/probe_spec.h"
#include "tests/ctrl/config_builder.h"
#include "tests/support/loopback_server.h"

namespace weir::test {

inline ProbeSpec spec_for(ProbeProtocol protocol, std::uint16_t port,
                          std::string_view address = "127.0.0.1") {
    HealthCheckConfig check;
    check.protocol = protocol;
    check.timeout = std::chrono::milliseconds(500);
    if (protocol == ProbeProtocol::udp) check.send = "PING";
    if (protocol == ProbeProtocol::grpc) {
        check.path = "/grpc.health.v1.Health/Check";
        check.matcher = "0";
    }
    return make_probe_spec(check, ip(address), port);
}

// A port that nobody listens on: one that has just been given back.
inline std::uint16_t dead_port(int type = SOCK_STREAM) { return LoopbackServer(type).port(); }

}  // namespace weir::test
