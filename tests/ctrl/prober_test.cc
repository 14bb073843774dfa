// The prober on its loop, over real sockets: servers on loopback that answer well, badly, slowly or without
// end. Peers that are programs of others (nginx, gRPC, OpenSSL) are in tests/e2e/probes_test.py.
#include "ctrl/health/prober.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/ctrl/config_builder.h"
#include "tests/ctrl/probe_testing.h"
#include "tests/support/loopback_server.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::dead_port;
using test::LoopbackServer;
using test::spec_for;

// The first result of each probe.
std::vector<ProbeResult> probe_all(const std::vector<ProbeSpec>& specs, ProberOptions options = {}) {
    ControlLoop loop;
    Prober prober(loop, std::move(options));
    std::vector<ProbeResult> results(specs.size());
    std::vector<ProbeId> ids(specs.size());
    std::size_t left = specs.size();
    for (std::size_t i = 0; i < specs.size(); ++i)
        ids[i] = prober.add(specs[i], 3'600'000ms, "web", [&, i](const ProbeResult& result) {
            results[i] = result;
            prober.remove(ids[i]);
            if (--left == 0) loop.stop();
        });
    loop.after(20s, [&] {
        ADD_FAILURE() << left << " probes have not ended";
        loop.stop();
    });
    loop.run();
    return results;
}
ProbeResult probe(const ProbeSpec& spec) { return probe_all({spec}).front(); }

void expect(const ProbeResult& result, ProbeOutcome outcome, std::string_view answer) {
    EXPECT_EQ(name_of(result.outcome), name_of(outcome)) << result.answer;
    EXPECT_EQ(result.answer, answer);
}

std::function<void(int)> answering(std::string answer) {
    return [answer = std::move(answer)](int client) {
        LoopbackServer::read_request(client);
        LoopbackServer::say(client, answer);
    };
}

TEST(TcpProbe, SucceedsWithoutEnteringTheAcceptQueue) {
    LoopbackServer server;
    expect(probe(spec_for(ProbeProtocol::tcp, server.port())), ProbeOutcome::success, "connected");
    std::this_thread::sleep_for(200ms);
    EXPECT_LT(accept(server.fd(), nullptr, nullptr), 0) << "the server's program is bothered";
}

TEST(TcpProbe, RefusedAndFull) {
    expect(probe(spec_for(ProbeProtocol::tcp, dead_port())), ProbeOutcome::failed, "connection refused");
    // Nobody accepts, and the queue of one is taken: the kernel answers no SYN.
    LoopbackServer stuck(SOCK_STREAM, 0);
    const int first = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(stuck.port());
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(first, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
    pollfd taken{stuck.fd(), POLLIN, 0};
    ASSERT_EQ(poll(&taken, 1, 2'000), 1);
    const ProbeResult result = probe(spec_for(ProbeProtocol::tcp, stuck.port()));
    expect(result, ProbeOutcome::timeout, "no answer within 500ms");
    EXPECT_GE(result.took, 500ms);
    EXPECT_LE(result.took, 1s);
    close(first);
}

TEST(TcpProbe, Ipv6) {
    expect(probe(spec_for(ProbeProtocol::tcp, dead_port(), "::1")), ProbeOutcome::failed,
           "connection refused");
}

TEST(TcpProbe, FromASourceOfItsOwn) {
    LoopbackServer server;
    ProbeSpec spec = spec_for(ProbeProtocol::http, server.port());
    spec.source = ip("127.0.0.77");
    spec.interface = "lo";
    std::string seen;
    server.serve([&](int client) {
        sockaddr_in peer{};
        socklen_t length = sizeof(peer);
        getpeername(client, reinterpret_cast<sockaddr*>(&peer), &length);
        seen = inet_ntoa(peer.sin_addr);
        answering("HTTP/1.1 204 No Content\r\n\r\n")(client);
    });
    expect(probe(spec), ProbeOutcome::success, "HTTP 204");
    EXPECT_EQ(seen, "127.0.0.77");
}

TEST(HttpProbe, RequestSaysWhatTheCheckSays) {
    LoopbackServer server;
    std::string request;
    server.serve([&](int client) {
        request = LoopbackServer::read_request(client);
        LoopbackServer::say(client, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    });
    ProbeSpec spec = spec_for(ProbeProtocol::http, server.port());
    spec.path = "/a/../b?q=1#x";
    spec.host = "www.example.com";
    expect(probe(spec), ProbeOutcome::success, "HTTP 200");
    EXPECT_TRUE(request.starts_with("GET /a/../b?q=1#x HTTP/1.1\r\n")) << request;
    EXPECT_NE(request.find("\r\nHost: www.example.com\r\n"), std::string::npos) << request;
    EXPECT_NE(request.find("\r\nConnection: close\r\n"), std::string::npos) << request;
    spec.host.clear();
    spec.method = "HEAD";
    expect(probe(spec), ProbeOutcome::success, "HTTP 200");
    EXPECT_TRUE(request.starts_with("HEAD /a")) << request;
    EXPECT_NE(request.find("\r\nHost: 127.0.0.1:" + std::to_string(server.port()) + "\r\n"),
              std::string::npos)
        << request;
}

TEST(HttpProbe, StatusCodes) {
    const auto ask = [](const std::string& answer, const std::string& matcher) {
        LoopbackServer server;
        server.serve(answering(answer));
        ProbeSpec spec = spec_for(ProbeProtocol::http, server.port());
        spec.matcher = matcher;
        return probe(spec);
    };
    expect(ask("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "200-399"), ProbeOutcome::mismatch,
           "HTTP 503");
    expect(ask("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "200,500-599"), ProbeOutcome::success,
           "HTTP 503");
    // Redirects are answers, and nobody goes there.
    const std::string moved =
        "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    expect(ask(moved, "200-399"), ProbeOutcome::success, "HTTP 301");
    expect(ask(moved, "200-299"), ProbeOutcome::mismatch, "HTTP 301");
    expect(ask("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "200"), ProbeOutcome::success,
           "HTTP 200");
    expect(ask("HTTP/1.0 200 OK\n\n", "200"), ProbeOutcome::success, "HTTP 200");
}

TEST(HttpProbe, Bodies) {
    const auto ask = [](const std::string& body) {
        LoopbackServer server;
        server.serve(answering("HTTP/1.1 200 OK\r\n\r\n" + body));
        ProbeSpec spec = spec_for(ProbeProtocol::http, server.port());
        spec.body = "all is well";
        return probe(spec);
    };
    expect(ask("today all is well here"), ProbeOutcome::success, "HTTP 200");
    expect(ask(std::string(20'000, 'x') + "all is well"), ProbeOutcome::success, "HTTP 200");
    expect(ask("all is wel"), ProbeOutcome::mismatch, "HTTP 200, but body lacks \"all is well\"");
    expect(ask(""), ProbeOutcome::mismatch, "HTTP 200, but body lacks \"all is well\"");
    expect(ask(std::string(100'000, 'x') + "all is well"), ProbeOutcome::mismatch,
           "HTTP 200, but the body's first 32 KiB lacks \"all is well\"");
}

TEST(HttpProbe, ThingsThatAreNoAnswer) {
    const auto ask = [](std::function<void(int)> talk) {
        LoopbackServer server;
        server.serve(std::move(talk));
        return probe(spec_for(ProbeProtocol::http, server.port()));
    };
    expect(probe(spec_for(ProbeProtocol::http, dead_port())), ProbeOutcome::failed, "connection refused");
    expect(ask(answering("SSH-2.0-OpenSSH_9.2\r\n")), ProbeOutcome::failed, "answer is not HTTP");
    expect(ask(answering("")), ProbeOutcome::failed, "connection closed without an answer");
    expect(ask([](int client) {
               LoopbackServer::read_request(client);
               LoopbackServer::reset(client);
           }),
           ProbeOutcome::failed, "connection reset");
    expect(ask([](int) { std::this_thread::sleep_for(700ms); }), ProbeOutcome::timeout,
           "connected, but no answer within 500ms");
    expect(ask([](int client) {
               answering("HTTP/1.1 200 OK\r\nServer: ")(client);
               std::this_thread::sleep_for(700ms);
           }),
           ProbeOutcome::timeout, "no complete answer within 500ms");
}

TEST(HttpsProbe, PeersWithoutTls) {
    LoopbackServer plain;
    plain.serve([](int client) { LoopbackServer::say(client, "HTTP/1.1 400 Bad Request\r\n\r\n"); });
    const ProbeResult result = probe(spec_for(ProbeProtocol::https, plain.port()));
    EXPECT_EQ(result.outcome, ProbeOutcome::failed);
    EXPECT_TRUE(result.answer.starts_with("TLS: ")) << result.answer;
    LoopbackServer silent;
    expect(probe(spec_for(ProbeProtocol::https, silent.port())), ProbeOutcome::timeout,
           "connected, but no TLS handshake within 500ms");
}

TEST(GrpcProbe, PeersWithoutHttp2) {
    LoopbackServer plain;
    plain.serve([&](int client) {
        LoopbackServer::say(client, "HTTP/1.1 400 Bad Request\r\n\r\n");
        plain.hold(client);
    });
    const ProbeResult result = probe(spec_for(ProbeProtocol::grpc, plain.port()));
    EXPECT_EQ(result.outcome, ProbeOutcome::failed);
    EXPECT_NE(result.answer.find("HTTP/2"), std::string::npos) << result.answer;
}

TEST(UdpProbe, AnswersAndRefusals) {
    LoopbackServer echo(SOCK_DGRAM);
    echo.serve_datagrams([](const std::string& said) { return said == "PING" ? "PONG 17" : said; });
    ProbeSpec spec = spec_for(ProbeProtocol::udp, echo.port());
    expect(probe(spec), ProbeOutcome::success, "answered 7 bytes");
    spec.expect = "PONG";
    expect(probe(spec), ProbeOutcome::success, "answered 7 bytes");
    spec.send = "\0\1"s;
    expect(probe(spec), ProbeOutcome::mismatch, R"(answered "\x00\x01", expected "PONG")");
    expect(probe(spec_for(ProbeProtocol::udp, dead_port(SOCK_DGRAM))), ProbeOutcome::failed,
           "connection refused");
    LoopbackServer silent(SOCK_DGRAM);
    expect(probe(spec_for(ProbeProtocol::udp, silent.port())), ProbeOutcome::timeout,
           "no answer within 500ms");
}

TEST(IcmpProbe, Loopback) {
    for (const char* address : {"127.0.0.1", "127.9.8.7", "::1"}) {
        if (getuid() != 0) GTEST_SKIP() << "needs root, or a group in net.ipv4.ping_group_range";
        expect(probe(spec_for(ProbeProtocol::icmp, 0, address)), ProbeOutcome::success, "echo reply");
    }
}

// Raw sockets hear the replies to all others.
TEST(IcmpProbe, ManyAtOnceKeepApart) {
    if (getuid() != 0) GTEST_SKIP() << "needs root, or a group in net.ipv4.ping_group_range";
    std::vector<ProbeSpec> specs;
    for (int i = 1; i <= 200; ++i)
        specs.push_back(spec_for(ProbeProtocol::icmp, 0, "127.0.9." + std::to_string(i)));
    for (const ProbeResult& result : probe_all(specs)) expect(result, ProbeOutcome::success, "echo reply");
}

// The mark leads nowhere here, so the probe goes to loopback: what it says of itself is there before it
// comes.
TEST(ProbeThroughAVip, SaysWhomItIsForBeforeItConnects) {
    if (getuid() != 0) GTEST_SKIP() << "SO_MARK needs CAP_NET_ADMIN";
    ProbePorts ports;
    const ProbeWay way{BackendId{7}, ForwardingMode::gue}, none{};
    std::atomic<std::uint16_t> from{0};
    std::atomic<bool> said{false};
    LoopbackServer server;
    server.serve([&](int client) {
        sockaddr_in peer{};
        socklen_t size = sizeof(peer);
        getpeername(client, reinterpret_cast<sockaddr*>(&peer), &size);
        from = ntohs(peer.sin_port);
        said = ports.find(IpProtocol::tcp, from).value_or(none) == way;
        answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(client);
    });
    ProbeSpec spec = spec_for(ProbeProtocol::http, server.port(), "192.0.2.1");
    spec.via = ProbeVia{ip("127.0.0.1"), way};
    const auto results = probe_all({spec}, {.ports = &ports});
    EXPECT_EQ(results[0].outcome, ProbeOutcome::success) << results[0].answer;
    EXPECT_TRUE(said);
    EXPECT_FALSE(ports.find(IpProtocol::udp, from)) << "ports of TCP and UDP are apart";

    LoopbackServer echo(SOCK_DGRAM);
    echo.serve_datagrams([](const std::string& text) { return text; });
    ProbeSpec datagram = spec_for(ProbeProtocol::udp, echo.port(), "192.0.2.1");
    datagram.via = ProbeVia{ip("127.0.0.1"), way};
    ProbeSpec handshake = spec_for(ProbeProtocol::tcp, server.port(), "192.0.2.1");
    handshake.via = datagram.via;
    for (const ProbeResult& result : probe_all({datagram, handshake}, {.ports = &ports}))
        EXPECT_EQ(result.outcome, ProbeOutcome::success) << result.answer;
    std::size_t entries[2] = {0, 0};
    for (unsigned port = 1; port <= 65'535; ++port) {
        entries[0] += ports.find(IpProtocol::tcp, static_cast<std::uint16_t>(port)).has_value();
        entries[1] += ports.find(IpProtocol::udp, static_cast<std::uint16_t>(port)).has_value();
    }
    EXPECT_EQ(entries[0], 2u);
    EXPECT_EQ(entries[1], 1u);
}

TEST(Prober, NoDescriptorIsNoVerdict) {
    ControlLoop loop;
    Prober prober(loop, {.most_in_flight = 100});
    LoopbackServer server;
    int calls = 0;
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    prober.add(spec_for(ProbeProtocol::tcp, server.port()), 100ms, "web",
               [&](const ProbeResult&) { ++calls; });
    prober.add(spec_for(ProbeProtocol::http, server.port()), 100ms, "web",
               [&](const ProbeResult&) { ++calls; });
    const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    loop.after(500ms, [&] { loop.stop(); });
    loop.run();
    setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(calls, 0);
    EXPECT_GE(prober.statistics().unsent, 4u);
    EXPECT_EQ(prober.statistics().unsent_why, "Too many open files");
}

}  // namespace
}  // namespace weir
