// The prober on its loop, over real sockets: servers on loopback that answer well, badly, slowly or without
// end. Peers that are programs of others (nginx, gRPC, OpenSSL) are in tests/e2e/probes_test.py.
#include "ctrl/health/prober.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ctrl/config/setting_text.h"
#include "tests/ctrl/config_builder.h"
#include "tests/support/loopback_server.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::LoopbackServer;

ProbeSpec spec_for(ProbeProtocol protocol, std::uint16_t port, std::string_view address = "127.0.0.1") {
    HealthCheckConfig check;
    check.protocol = protocol;
    check.timeout = 500ms;
    if (protocol == ProbeProtocol::udp) check.send = "PING";
    if (protocol == ProbeProtocol::grpc) {
        check.path = "/grpc.health.v1.Health/Check";
        check.matcher = "0";
    }
    return make_probe_spec(check, ip(address), port);
}

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
// A port that nobody listens on: one that has just been given back.
std::uint16_t dead_port(int type = SOCK_STREAM) { return LoopbackServer(type).port(); }

std::function<void(int)> answering(std::string answer) {
    return [answer = std::move(answer)](int client) {
        LoopbackServer::read_request(client);
        LoopbackServer::say(client, answer);
    };
}

std::ptrdiff_t descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
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
    EXPECT_NE(request.find("\r\nHost: 127.0.0.1\r\n"), std::string::npos) << request;
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

TEST(Prober, NoDescriptorIsNoVerdict) {
    ControlLoop loop;
    Prober prober(loop, {.most_in_flight = 100, .explain_silence = {}});
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

// Reliability test H-5: whatever a server does, its probe ends at its timeout, takes a bounded memory, and
// delays no other.
class HostileServers : public ::testing::Test {
  protected:
    struct Kind {
        std::unique_ptr<LoopbackServer> server = std::make_unique<LoopbackServer>();
        std::string body;  // what the probe looks for
    };
    void add(std::function<void(LoopbackServer&, int)> talk, std::string body = "") {
        Kind kind{.body = std::move(body)};
        LoopbackServer& server = *kind.server;
        // A few clients at once.
        for (int i = 0; i < 4; ++i) server.serve([&server, talk](int client) { talk(server, client); });
        kinds.push_back(std::move(kind));
    }
    void SetUp() override {
        static const std::string kFlood(64 << 10, 'x');
        add([](LoopbackServer& server, int client) {  // a header line without end
            LoopbackServer::say(client, "HTTP/1.1 200 OK\r\nX: ");
            server.repeat(client, kFlood, 0ms);
        });
        add([](LoopbackServer& server, int client) {  // header lines without end
            LoopbackServer::say(client, "HTTP/1.1 200 OK\r\n");
            server.repeat(client, "X-Name: " + std::string(900, 'y') + "\r\n", 0ms);
        });
        add([](LoopbackServer& server, int client) { server.repeat(client, "H", 50ms); });
        add(
            [](LoopbackServer& server, int client) {  // a body without end, which is to be searched
                LoopbackServer::say(client, "HTTP/1.1 200 OK\r\n\r\n");
                server.repeat(client, kFlood, 0ms);
            },
            "needle");
        add(
            [](LoopbackServer& server, int client) {  // chunks without end, one byte each
                LoopbackServer::say(client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                server.repeat(client, "1\r\nx\r\n", 0ms);
            },
            "needle");
        add([](LoopbackServer& server, int client) {  // interim answers without end
            server.repeat(client, "HTTP/1.1 100 Continue\r\n\r\n", 0ms);
        });
        add([](LoopbackServer&, int client) { LoopbackServer::reset(client); });
        add([](LoopbackServer& server, int client) { server.hold(client); });
    }
    std::vector<Kind> kinds;
};

TEST_F(HostileServers, EndInTimeAndDelayNobody) {
    LoopbackServer good;
    ControlLoop loop;
    Prober prober(loop);
    std::vector<ProbeResult> hostile;
    std::vector<std::chrono::steady_clock::time_point> begun;
    for (const Kind& kind : kinds)
        for (const auto protocol : {ProbeProtocol::http, ProbeProtocol::https, ProbeProtocol::grpc}) {
            ProbeSpec spec = spec_for(protocol, kind.server->port());
            if (protocol != ProbeProtocol::grpc) spec.body = kind.body;
            prober.add(spec, 600ms, "hostile", [&](const ProbeResult& result) { hostile.push_back(result); });
        }
    const auto note = [&](const ProbeResult& result) {
        expect(result, ProbeOutcome::success, "connected");
        begun.push_back(std::chrono::steady_clock::now() - result.took);
    };
    prober.add(spec_for(ProbeProtocol::tcp, good.port()), 100ms, "good", note);
    const std::ptrdiff_t before = descriptors();
    loop.after(5s, [&] { loop.stop(); });
    loop.run();
    EXPECT_GE(hostile.size(), kinds.size() * 3 * 6);
    for (const ProbeResult& result : hostile) {
        EXPECT_NE(result.outcome, ProbeOutcome::success) << result.answer;
        EXPECT_LE(result.took, 1s) << result.answer;
    }
    EXPECT_LE(descriptors() - before, static_cast<std::ptrdiff_t>(kinds.size()) * 10);
    // The other's times, to a tenth of its interval or what a busy machine takes.
    std::size_t punctual = 0;
    for (std::size_t k = 2; k < begun.size(); ++k)
        punctual += begun[k] - begun[k - 1] > 50ms && begun[k] - begun[k - 1] < 150ms ? 1 : 0;
    EXPECT_GE(begun.size(), 40u);
    EXPECT_GE(punctual, begun.size() * 8 / 10);
}

// The most that each of `count` probes of one server takes, from before it exists to its verdict.
std::size_t most_memory_each(const ProbeSpec& spec, std::size_t count) {
    ControlLoop loop;
    Prober prober(loop);
    const std::size_t before = mallinfo2().uordblks;
    std::size_t most = before;
    for (std::size_t i = 0; i < count; ++i) {
        ProbeSpec one = spec;
        one.path += std::to_string(i);  // each a probe of its own
        prober.add(one, 3'600'000ms, "web", [](const ProbeResult&) {});
    }
    loop.every(2ms, [&] { most = std::max(most, mallinfo2().uordblks); });
    loop.after(spec.timeout + 500ms, [&] { loop.stop(); });
    loop.run();
    EXPECT_GE(prober.statistics().probes, count);
    return (most - before) / count;
}

TEST(Prober, MemoryOfAProbeUnderWay) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers' own memory";
#endif
    // OpenSSL's context and read buffer, libcurl's HTTP/2 read buffer and nghttp2's session are what they
    // are.
    const std::map<ProbeProtocol, std::size_t> allowed = {{ProbeProtocol::tcp, 4},
                                                          {ProbeProtocol::http, 24},
                                                          {ProbeProtocol::https, 80},
                                                          {ProbeProtocol::grpc, 96}};
    for (const auto& [protocol, most] : allowed) {
        LoopbackServer silent(SOCK_STREAM, 4'096);
        ProbeSpec spec = spec_for(protocol, protocol == ProbeProtocol::tcp ? dead_port() : silent.port());
        spec.timeout = 1s;
        const std::size_t silence = most_memory_each(spec, 200) >> 10;
        std::printf("    %s: %zu KiB for each probe under way\n", std::string(name_of(protocol)).c_str(),
                    silence);
        EXPECT_LE(silence, most) << name_of(protocol);
    }
}

// What a hostile server can make of it.
TEST_F(HostileServers, TakeNoMoreMemoryThanAProbeMay) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers' own memory";
#endif
    for (const Kind& kind : kinds) {
        ProbeSpec spec = spec_for(ProbeProtocol::http, kind.server->port());
        spec.body = kind.body;
        const std::size_t each = most_memory_each(spec, 4) >> 10;
        std::printf("    %zu KiB for each probe under way\n", each);
        EXPECT_LE(each, 64u);
    }
}

}  // namespace
}  // namespace weir
