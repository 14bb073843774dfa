// Whatever a server does, its probe ends at its timeout, takes a bounded memory, and delays no other.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ctrl/health/prober.h"
#include "tests/ctrl/probe_testing.h"
#include "tests/support/loopback_server.h"
#include "tests/support/sanitized.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using test::dead_port;
using test::LoopbackServer;
using test::spec_for;

std::ptrdiff_t descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
}

// Reliability test H-5: whatever a server does, its probe ends at its timeout, takes a bounded memory, and
// delays no other.
// What keeps the loop from its ticks of 10 ms: its own work, by the thread's CPU time, and whatever else.
struct Metronome {
    explicit Metronome(ControlLoop& loop) {
        loop.every(10ms, [this] {
            const auto now = std::chrono::steady_clock::now();
            const auto worked = cpu_time();
            longest_gap = std::max<std::chrono::nanoseconds>(longest_gap, now - at_);
            most_work = std::max(most_work, worked - work_);
            at_ = now;
            work_ = worked;
        });
    }
    static std::chrono::nanoseconds cpu_time() {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
    }
    std::chrono::nanoseconds longest_gap{0}, most_work{0};

  private:
    std::chrono::steady_clock::time_point at_ = std::chrono::steady_clock::now();
    std::chrono::nanoseconds work_ = cpu_time();
};

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
        EXPECT_EQ(result.answer, "connected");
        begun.push_back(std::chrono::steady_clock::now() - result.took);
    };
    prober.add(spec_for(ProbeProtocol::tcp, good.port()), 100ms, "good", note);
    const std::ptrdiff_t before = descriptors();
    Metronome metronome(loop);
    loop.after(5s, [&] { loop.stop(); });
    loop.run();
    // A probe is judged at its timeout, or when the machine next lets this thread run.
    for (const ProbeResult& result : hostile) {
        EXPECT_NE(result.outcome, ProbeOutcome::success) << result.answer;
        EXPECT_LE(result.took, 550ms + 2 * metronome.longest_gap) << result.answer;
    }
    EXPECT_GE(hostile.size(), kinds.size() * 3);
    // Nobody waits for longer than what the hostile ones take of the core at once.
    EXPECT_LE(metronome.most_work, kSanitized ? 150ms : 40ms);
    EXPECT_LE(descriptors() - before, static_cast<std::ptrdiff_t>(kinds.size()) * 10);
    if (metronome.longest_gap > 40ms) GTEST_SKIP() << "the machine is too busy to judge times";
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
    if (kSanitized) GTEST_SKIP() << "sanitizers' own memory";
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
    if (kSanitized) GTEST_SKIP() << "sanitizers' own memory";
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
