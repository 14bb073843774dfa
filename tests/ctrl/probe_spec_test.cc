// What probes are told, and the small languages that they speak.
#include "ctrl/health/probe_spec.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "ctrl/health/grpc_health.h"
#include "ctrl/health/probe.h"
#include "ctrl/health/status_matcher.h"
#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

using namespace std::string_literals;

TEST(ProbeSpec, ComesOfTheCheckAndTheBackend) {
    HealthCheckConfig check;
    check.protocol = ProbeProtocol::https;
    check.path = "/healthz";
    check.host = "www.example.com";
    check.verify = true;
    check.ca_file = "ca.pem";
    ProbeSpec spec = make_probe_spec(check, ip("10.1.1.11"), 443);
    EXPECT_EQ(spec.port, 443);
    EXPECT_EQ(spec.path, "/healthz");
    EXPECT_EQ(spec.host, "www.example.com");
    EXPECT_EQ(spec.ca_file, "ca.pem");
    EXPECT_EQ(spec.destination(), ip("10.1.1.11"));
    EXPECT_EQ(to_text(spec), "https 10.1.1.11:443");
    check.port = 8443;
    EXPECT_EQ(make_probe_spec(check, ip("fd00::11"), 443).port, 8443);
    EXPECT_EQ(to_text(make_probe_spec(check, ip("fd00::11"), 443)), "https [fd00::11]:8443");
    spec.via = ProbeVia{ip("203.0.113.10"), {BackendId{7}, ForwardingMode::gue}};
    EXPECT_EQ(spec.destination(), ip("203.0.113.10"));
}

TEST(ProbeSpec, KeysWithoutMeaningMakeNoDifference) {
    HealthCheckConfig plain, decorated;
    decorated.path = "/other";
    decorated.host = "name";
    decorated.interval = Duration(17);
    decorated.healthy_threshold = 9;
    EXPECT_EQ(make_probe_spec(plain, ip("10.0.0.1"), 80), make_probe_spec(decorated, ip("10.0.0.1"), 80));
    plain.protocol = ProbeProtocol::icmp;
    EXPECT_EQ(make_probe_spec(plain, ip("10.0.0.1"), 80), make_probe_spec(plain, ip("10.0.0.1"), 81));
    EXPECT_EQ(to_text(make_probe_spec(plain, ip("10.0.0.1"), 80)), "icmp 10.0.0.1");
}

TEST(ProbeSpec, HashesDifferWhereSpecsDo) {
    std::set<std::uint64_t> hashes;
    ProbeSpec spec;
    for (std::uint32_t i = 0; i < 10'000; ++i) {
        spec.address = IpAddress(Ipv4Address{Be32(0x0a00'0000 + i)});
        hashes.insert(hash_of(spec));
    }
    for (std::string* text :
         {&spec.path, &spec.host, &spec.body, &spec.send, &spec.expect, &spec.grpc_service}) {
        *text = "x";
        hashes.insert(hash_of(spec));
        text->clear();
    }
    EXPECT_EQ(hashes.size(), 10'006u);
}

TEST(ProbeOutcome, ReasonsAreThoseOfElb) {
    EXPECT_EQ(reason_of(ProbeOutcome::success), "");
    EXPECT_EQ(reason_of(ProbeOutcome::timeout), "Target.Timeout");
    EXPECT_EQ(reason_of(ProbeOutcome::mismatch), "Target.ResponseCodeMismatch");
    EXPECT_EQ(reason_of(ProbeOutcome::failed), "Target.FailedHealthChecks");
}

TEST(StatusMatcher, CodesRangesAndLists) {
    EXPECT_TRUE(matches("200-399", 200));
    EXPECT_TRUE(matches("200-399", 399));
    EXPECT_FALSE(matches("200-399", 400));
    EXPECT_FALSE(matches("200-399", 199));
    EXPECT_TRUE(matches("200-299, 301 ,404", 301));
    EXPECT_TRUE(matches("200-299, 301 ,404", 404));
    EXPECT_FALSE(matches("200-299, 301 ,404", 300));
    EXPECT_TRUE(matches("0", 0));
    EXPECT_FALSE(matches("0,12", 1));
    EXPECT_TRUE(matches("0,12", 12));
}

TEST(GrpcHealth, Request) {
    EXPECT_EQ(grpc_health_request(""), "\0\0\0\0\0"s);
    EXPECT_EQ(grpc_health_request("web"), "\0\0\0\0\5\12\3web"s);
    const std::string longer = grpc_health_request(std::string(200, 'x'));
    EXPECT_EQ(longer.substr(0, 8), "\0\0\0\0\xcb\12\xc8\1"s);
    EXPECT_EQ(longer.size(), 5u + 203u);
}

TEST(GrpcHealth, Response) {
    EXPECT_EQ(grpc_serving_status("\0\0\0\0\2\10\1"s), 1u);
    EXPECT_EQ(grpc_serving_status("\0\0\0\0\2\10\2"s), 2u);
    EXPECT_EQ(grpc_serving_status("\0\0\0\0\0"s), 0u) << "the default of proto3 is not written";
    // Fields that a later version may add are passed over.
    EXPECT_EQ(grpc_serving_status("\0\0\0\0\7\22\3abc\10\1"s), 1u);
    EXPECT_EQ(grpc_serving_status("\0\0\0\0\7\35\1\2\3\4\10\1"s), 1u);
}

TEST(GrpcHealth, MalformedResponses) {
    for (const std::string& frame :
         {""s, "\0\0\0\0"s, "\1\0\0\0\2\10\1"s, "\0\0\0\0\3\10\1"s, "\0\0\0\0\1\10\1"s, "\0\0\0\0\1\10"s,
          "\0\0\0\0\2\22\5"s, "\0\0\0\0\1\14"s, "\0\377\377\377\377\10\1"s,
          "\0\0\0\0\14\10\377\377\377\377\377\377\377\377\377\377\1"s})
        EXPECT_EQ(grpc_serving_status(frame), std::nullopt);
}

TEST(GrpcHealth, Names) {
    EXPECT_EQ(grpc_serving_name(2), "NOT_SERVING");
    EXPECT_EQ(grpc_serving_name(9), "9");
    EXPECT_EQ(grpc_code_name(12), "UNIMPLEMENTED");
    EXPECT_EQ(grpc_code_name(99), "99");
}

TEST(ProbeSpec, BringsAProxyHeaderToThePortOfTheClients) {
    using enum ProbeProtocol;
    HealthCheckConfig check;
    for (const ProbeProtocol protocol : {tcp, http, https, udp, grpc, icmp}) {
        check.protocol = protocol;
        check.port.reset();
        const bool can = protocol == http || protocol == https || protocol == grpc;
        EXPECT_EQ(wants_proxy_header(check, ClientIdentity::proxy_v1), can);
        EXPECT_EQ(wants_proxy_header(check, ClientIdentity::proxy_v2), can);
        EXPECT_FALSE(wants_proxy_header(check, ClientIdentity::none));
        EXPECT_FALSE(wants_proxy_header(check, ClientIdentity::toa));
        check.port = 80;
        EXPECT_FALSE(wants_proxy_header(check, ClientIdentity::proxy_v2)) << "a port of its own";
    }
    ProbeSpec with = make_probe_spec(check, ip("10.1.1.11"), 80), without = with;
    with.proxy_header = true;
    EXPECT_NE(with, without);
    EXPECT_NE(hash_of(with), hash_of(without));
}

}  // namespace
}  // namespace weir
