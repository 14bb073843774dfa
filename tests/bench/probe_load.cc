// How many probes the control core bears: thousands of targets on loopback, with servers on the other core.
//
//     probe_load [--tcp 10000] [--http 1000] [--tcp-interval 5000] [--http-interval 1000] [--seconds 30]
//
// Prints one line of JSON: the share of probes within 100 ms of their time, the prober's share of its core
// (user and system, by getrusage; loopback charges the server's half of each handshake to whoever sends),
// descriptors, memory. Exit code 1 if fewer than 99 % are within 100 ms, or it takes more than half a core.
// On a machine that does other work: `chrt -f 1 probe_load`, as the control core is weir's own.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "ctrl/control_loop.h"
#include "ctrl/health/prober.h"
#include "tests/bench/probe_load_server.h"

namespace weir::bench {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Load {
    std::uint32_t tcp = 10'000, http = 1'000;
    std::int64_t tcp_interval = 5'000, http_interval = 1'000;
    int seconds = 30;
};

struct Target {
    Duration interval;
    std::vector<Clock::time_point> begun;
};

struct Usage {
    Clock::time_point at;
    double user = 0, system = 0;
    std::uint64_t probes = 0;
};

double seconds_of(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

Usage usage(const Prober& prober) {
    rusage used{};
    getrusage(RUSAGE_THREAD, &used);
    return {Clock::now(), seconds_of(used.ru_utime), seconds_of(used.ru_stime), prober.statistics().probes};
}

std::size_t resident_bytes() {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

std::size_t descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
}

class Run {
  public:
    explicit Run(const Load& load) : load_(load), server_(start_probe_server(1)) {
        run_on(0);
        add(load.tcp, ProbeProtocol::tcp, server_.tcp_port, Duration(load.tcp_interval), 0x7f01'0000);
        add(load.http, ProbeProtocol::http, server_.http_port, Duration(load.http_interval), 0x7f02'0000);
    }
    ~Run() {
        kill(server_.process, SIGKILL);
        waitpid(server_.process, nullptr, 0);
    }

    nlohmann::json measure() {
        // One interval spreads the first probes, in the next every target finds its grid.
        const Duration settle(2 * std::max(load_.tcp_interval, load_.http_interval));
        loop_.after(settle, [this] { from_ = usage(prober_); });
        loop_.after(settle + std::chrono::seconds(load_.seconds), [this] {
            to_ = usage(prober_);
            loop_.stop();
        });
        loop_.every(1s, [this] {
            most_descriptors_ = std::max(most_descriptors_, descriptors());
            most_memory_ = std::max(most_memory_, resident_bytes());
        });
        const std::size_t memory = resident_bytes();
        loop_.run();
        return report(memory);
    }

  private:
    void add(std::uint32_t count, ProbeProtocol protocol, std::uint16_t port, Duration interval,
             std::uint32_t first) {
        HealthCheckConfig check;
        check.protocol = protocol;
        check.timeout = std::min(check.timeout, interval);
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::size_t place = targets_.size();
            targets_.push_back({interval, {}});
            const IpAddress address(Ipv4Address{Be32(first + i)});
            prober_.add(make_probe_spec(check, address, port), interval, name_of(protocol),
                        [this, place](const ProbeResult& result) {
                            if (result.outcome != ProbeOutcome::success) {
                                ++wrong_;
                                last_wrong_ = result.answer;
                            }
                            targets_[place].begun.push_back(Clock::now() - result.took);
                        });
        }
    }

    // Of the probes in the measured time: how many begin when the grid of their target says.
    void judge(const Target& target) {
        const auto first = std::ranges::lower_bound(target.begun, from_.at);
        std::vector<Clock::duration> offsets;
        for (auto begun = first; begun != target.begun.end() && *begun < to_.at; ++begun)
            offsets.push_back((*begun - from_.at) % target.interval);
        if (offsets.empty()) return;
        // The grid's phase: the median. Offsets wrap around the interval.
        std::vector<Clock::duration> sorted = offsets;
        std::ranges::sort(sorted);
        const Clock::duration phase = sorted[sorted.size() / 2], interval = target.interval;
        for (const Clock::duration offset : offsets) {
            Clock::duration off = (offset - phase + interval + interval / 2) % interval - interval / 2;
            if (off < 0ns) off = -off;
            ++judged_;
            if (off <= 100ms) ++punctual_;
            worst_ = std::max(worst_, off);
        }
    }

    nlohmann::json report(std::size_t memory) {
        double due = 0;
        const double wall = std::chrono::duration<double>(to_.at - from_.at).count();
        for (const Target& target : targets_) {
            judge(target);
            due += wall / std::chrono::duration<double>(target.interval).count();
        }
        const ProberStatistics statistics = prober_.statistics();
        const double cpu = to_.user - from_.user + to_.system - from_.system;
        const auto probes = static_cast<double>(to_.probes - from_.probes);
        return {
            {"probes_per_second", probes / wall},
            {"begun_of_due", probes / due},
            {"within_100ms", static_cast<double>(punctual_) / static_cast<double>(std::max(judged_, 1ul))},
            {"worst_ms", std::chrono::duration<double, std::milli>(worst_).count()},
            {"core_share", cpu / wall},
            {"user_share", (to_.user - from_.user) / wall},
            {"us_per_probe", cpu / probes * 1e6},
            {"wrong", wrong_},
            {"last_wrong", last_wrong_},
            {"late", statistics.late},
            {"stretch", statistics.stretch},
            {"unsent", statistics.unsent},
            {"most_descriptors", most_descriptors_},
            {"resident_before_MiB", static_cast<double>(memory) / (1 << 20)},
            {"resident_most_MiB", static_cast<double>(most_memory_) / (1 << 20)}};
    }

    Load load_;
    ProbeServer server_;
    ControlLoop loop_;
    Prober prober_{loop_};
    std::vector<Target> targets_;
    Usage from_, to_;
    std::size_t most_descriptors_ = 0, most_memory_ = 0;
    std::size_t judged_ = 0, punctual_ = 0, wrong_ = 0;
    std::string last_wrong_;
    Clock::duration worst_{0};
};

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
    weir::bench::Load load;
    CLI::App app{"How many probes the control core bears"};
    app.add_option("--tcp", load.tcp);
    app.add_option("--http", load.http);
    app.add_option("--tcp-interval", load.tcp_interval, "ms");
    app.add_option("--http-interval", load.http_interval, "ms");
    app.add_option("--seconds", load.seconds);
    CLI11_PARSE(app, argc, argv);
    const nlohmann::json figures = weir::bench::Run(load).measure();
    std::cout << figures.dump() << std::endl;
    return figures["within_100ms"] >= 0.99 && figures["core_share"] <= 0.5 && figures["wrong"] == 0 ? 0 : 1;
}
