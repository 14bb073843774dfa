// The prober's times, by a clock that the test turns, over probes that answer when the test says so.
#include "ctrl/health/probe_engine.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using Time = ProbeEngine::Time;

ProbeSpec target(std::uint32_t number, Duration timeout = 500ms) {
    ProbeSpec spec;
    spec.address = IpAddress(Ipv4Address{Be32(0x0a00'0000 + number)});
    spec.port = 80;
    spec.timeout = timeout;
    return spec;
}

// Probes that are answered `delay` after they begin, or never. `cost` is what beginning one takes of the
// core.
class FakeTransport final : public ProbeTransport {
  public:
    struct Begun {
        IpAddress address;
        Time at;
    };
    Time clock{1h};
    std::chrono::nanoseconds delay{1ms}, cost{0};
    bool answers = true;
    Verdict verdict{ProbeOutcome::success, "connected"};
    std::vector<Begun> begun;
    int alive = 0, most_alive = 0;

    std::unique_ptr<RunningProbe> make(const ProbeSpec& spec, Conclude conclude) override {
        return std::make_unique<Fake>(*this, spec, std::move(conclude));
    }
    void serve(Time now) override {
        while (!due_.empty() && due_.begin()->first <= now) {
            Fake* probe = due_.begin()->second;
            due_.erase(due_.begin());
            probe->place = {};
            probe->conclude(verdict);
        }
    }
    [[nodiscard]] std::optional<Time> wake_at() const override {
        return due_.empty() ? std::nullopt : std::optional(due_.begin()->first);
    }
    std::vector<Time> times_of(const IpAddress& address) const {
        std::vector<Time> times;
        for (const Begun& one : begun)
            if (one.address == address) times.push_back(one.at);
        return times;
    }

  private:
    struct Fake final : RunningProbe {
        Fake(FakeTransport& transport, const ProbeSpec& spec, Conclude tell)
            : all(transport), address(spec.address), conclude(std::move(tell)) {
            all.most_alive = std::max(all.most_alive, ++all.alive);
        }
        ~Fake() override {
            --all.alive;
            if (place) all.due_.erase(*place);
        }
        void start() override {
            all.begun.push_back({address, all.clock});
            all.clock += all.cost;
            if (all.answers) place = all.due_.emplace(all.clock + all.delay, this);
        }
        FakeTransport& all;
        IpAddress address;
        Conclude conclude;
        std::optional<std::multimap<Time, Fake*>::iterator> place;
    };
    std::multimap<Time, Fake*> due_;
};

struct Bench {
    FakeTransport transport;
    ProbeEngine engine;
    std::vector<ProbeResult> results;

    explicit Bench(ProberOptions options = {.most_in_flight = 10'000, .explain_silence = {}})
        : engine(
              transport, [this] { return transport.clock; }, std::move(options)) {}

    ProbeId add(const ProbeSpec& spec, Duration interval, std::string_view owner = "web") {
        return engine.add(spec, interval, owner,
                          [this](const ProbeResult& result) { results.push_back(result); });
    }
    // As a loop would: from one turn to the next.
    void run(std::chrono::nanoseconds time) {
        const Time end = transport.clock + time;
        while (true) {
            const auto next = engine.next_turn();
            if (!next || *next > end) break;
            transport.clock = std::max(transport.clock, *next);
            engine.turn();
            if (transport.clock >= end) return;
        }
        transport.clock = std::max(transport.clock, end);
    }
};

TEST(ProbeEngine, FirstProbesLeaveAtOnceAndTheRestKeepToTheirGrid) {
    Bench bench;
    const Time added = bench.transport.clock;
    for (std::uint32_t i = 0; i < 100; ++i) bench.add(target(i), 5s);
    bench.run(1h);
    for (std::uint32_t i = 0; i < 100; ++i) {
        const auto times = bench.transport.times_of(target(i).address);
        ASSERT_GE(times.size(), 719u) << i;
        ASSERT_LE(times.size(), 721u) << i;
        EXPECT_LE(times[0] - added, 100ms);
        EXPECT_GE(times[1] - times[0], 2'500ms);
        EXPECT_LE(times[1] - times[0], 7'500ms);
        // An hour later still on the same grid, to the nanosecond: this clock is never late.
        for (std::size_t k = 2; k < times.size(); ++k)
            ASSERT_EQ(times[k] - times[k - 1], 5s) << i << ' ' << k;
    }
    EXPECT_EQ(bench.engine.statistics().late, 0u);
    EXPECT_NEAR(bench.engine.statistics().stretch, 1, 0.001);
}

TEST(ProbeEngine, TargetsSpreadOverTheInterval) {
    Bench bench;
    for (std::uint32_t i = 0; i < 10'000; ++i) bench.add(target(i), 5s);
    const Time added = bench.transport.clock;
    bench.run(5s);
    EXPECT_EQ(bench.transport.times_of(target(9'999).address).size(), 1u);
    std::map<std::uint32_t, int> first;
    std::size_t within = 0;
    for (const auto& one : bench.transport.begun) within += one.at - added <= 5s ? 1 : 0;
    EXPECT_GE(within, 10'000u);
    // From then on: as many in each tenth of a second, within five standard deviations.
    const Time from = bench.transport.clock + 5s;
    bench.run(10s);
    std::map<std::int64_t, int> per_tenth;
    for (const auto& one : bench.transport.begun)
        if (one.at >= from && one.at < from + 5s) ++per_tenth[(one.at - from) / 100ms];
    ASSERT_EQ(per_tenth.size(), 50u);
    for (const auto& [tenth, count] : per_tenth) {
        EXPECT_GT(count, 200 - 71) << tenth;
        EXPECT_LT(count, 200 + 71) << tenth;
    }
}

TEST(ProbeEngine, EqualSpecsShareOneProbe) {
    Bench bench;
    const ProbeId first = bench.add(target(1), 1s, "web");
    const ProbeId second = bench.add(target(1), 1s, "api");
    bench.add(target(1), 2s, "slow");  // another interval is another probe
    bench.run(10s);
    const auto statistics = bench.engine.statistics();
    EXPECT_EQ(statistics.targets, 2u);
    EXPECT_EQ(statistics.subscriptions, 3u);
    // One at once, the others on the grid, whose phase is the spec's.
    const std::uint64_t shared = statistics.owners.at("web").of(ProbeOutcome::success);
    EXPECT_GE(shared, 10u);
    EXPECT_LE(shared, 11u);
    EXPECT_EQ(statistics.owners.at("api").of(ProbeOutcome::success), shared);
    EXPECT_EQ(statistics.owners.at("web").duration.count(), shared);
    EXPECT_EQ(bench.transport.begun.size(), shared + statistics.owners.at("slow").of(ProbeOutcome::success));
    bench.engine.remove(first);
    bench.run(2s);
    EXPECT_EQ(bench.engine.statistics().owners.at("web").of(ProbeOutcome::success), shared);
    EXPECT_GE(bench.engine.statistics().owners.at("api").of(ProbeOutcome::success), shared + 2);
    bench.engine.remove(second);
    EXPECT_EQ(bench.engine.statistics().targets, 1u);
    bench.engine.forget_owner("slow");  // has a subscription
    bench.engine.forget_owner("web");
    EXPECT_EQ(bench.engine.statistics().owners.count("slow"), 1u);
    EXPECT_EQ(bench.engine.statistics().owners.count("web"), 0u);
}

TEST(ProbeEngine, SilenceEndsAtTheTimeout) {
    Bench bench;
    bench.transport.answers = false;
    bench.add(target(1, 2s), 5s);
    bench.run(2s - 1ns);
    EXPECT_TRUE(bench.results.empty());
    bench.run(1ns);
    ASSERT_EQ(bench.results.size(), 1u);
    EXPECT_EQ(bench.results[0].outcome, ProbeOutcome::timeout);
    EXPECT_EQ(bench.results[0].answer, "no answer within 2s");
    EXPECT_EQ(bench.results[0].took, 2s);
    EXPECT_EQ(bench.transport.alive, 0);
}

TEST(ProbeEngine, SilenceMayHaveAReason) {
    Bench bench({.most_in_flight = 10, .explain_silence = [](const IpAddress& address) {
                     return address == target(1).address ? "no ARP answer: host down?" : "";
                 }});
    bench.transport.answers = false;
    bench.add(target(1), 5s);
    bench.run(1s);
    bench.add(target(2), 5s);
    bench.run(1s);
    ASSERT_EQ(bench.results.size(), 2u);
    EXPECT_EQ(bench.results[0].answer, "no ARP answer: host down?");
    EXPECT_EQ(bench.results[1].answer, "no answer within 500ms");
}

TEST(ProbeEngine, AnswersThatCameDuringAPauseCount) {
    Bench bench;
    for (std::uint32_t i = 0; i < 50; ++i) bench.add(target(i), 1s);
    bench.run(10s);
    const std::size_t before = bench.results.size(), begun = bench.transport.begun.size();
    bench.transport.clock += 60s;  // the process was stopped
    bench.run(1s);
    for (const ProbeResult& result : bench.results) EXPECT_EQ(result.outcome, ProbeOutcome::success);
    // It goes on where it was: a second's probes, and not sixty.
    EXPECT_LE(bench.transport.begun.size() - begun, 2 * 50u);
    EXPECT_GE(bench.results.size() - before, 49u);
    EXPECT_GT(bench.engine.statistics().stretch, 5);
    bench.run(120s);
    EXPECT_NEAR(bench.engine.statistics().stretch, 1, 0.01);
}

// Twice as much to do as the core can: every interval doubles, the short and the long ones.
TEST(ProbeEngine, OverloadStretchesAllIntervalsAlike) {
    Bench bench;
    bench.transport.cost = 2ms;  // 500 a second
    for (std::uint32_t i = 0; i < 500; ++i) bench.add(target(i), 1s);
    for (std::uint32_t i = 500; i < 3'000; ++i) bench.add(target(i), 5s);
    bench.run(60s);
    const Time from = bench.transport.clock;
    bench.run(100s);
    for (const std::uint32_t i : {0u, 250u, 499u, 500u, 1'700u, 2'999u}) {
        const auto times = bench.transport.times_of(target(i).address);
        const auto count = std::count_if(times.begin(), times.end(), [&](Time at) { return at >= from; });
        const double expected = i < 500 ? 50 : 10;
        EXPECT_NEAR(static_cast<double>(count), expected, expected * 0.05 + 1) << i;
    }
    const auto statistics = bench.engine.statistics();
    EXPECT_NEAR(statistics.stretch, 2, 0.1);
    EXPECT_GT(statistics.late, statistics.probes / 2);
    EXPECT_LE(statistics.lateness.counts.back(), 0u);
}

TEST(ProbeEngine, NoMoreInFlightThanAllowedAndTheRestWaits) {
    Bench bench({.most_in_flight = 100, .explain_silence = {}});
    bench.transport.answers = false;  // 400 black holes, 1 s each: 100 a second
    for (std::uint32_t i = 0; i < 400; ++i) bench.add(target(i, 1s), 1s);
    bench.run(60s);
    EXPECT_EQ(bench.transport.most_alive, 100);
    const auto statistics = bench.engine.statistics();
    EXPECT_EQ(statistics.most_in_flight, 100u);
    EXPECT_EQ(statistics.in_flight, 100u);
    EXPECT_NEAR(statistics.stretch, 4, 0.3);
    for (const std::uint32_t i : {0u, 200u, 399u})
        EXPECT_NEAR(static_cast<double>(bench.transport.times_of(target(i).address).size()), 15, 2) << i;
}

TEST(ProbeEngine, ProbeNowBringsTheNextOneForward) {
    Bench bench;
    const ProbeId id = bench.add(target(1), 10s);
    bench.run(1s);
    ASSERT_EQ(bench.transport.begun.size(), 1u);
    const Time asked = bench.transport.clock;
    for (int i = 0; i < 1'000; ++i) {  // as passive signs may come
        bench.engine.probe_now(id);
        bench.run(1ms);
    }
    const auto times = bench.transport.times_of(target(1).address);
    EXPECT_EQ(times[1], asked);
    EXPECT_GE(times.size(), 10u);
    EXPECT_LE(times.size(), 12u);
    for (std::size_t k = 1; k < times.size(); ++k) EXPECT_GE(times[k] - times[k - 1], 100ms);
}

TEST(ProbeEngine, ProbeNowWhileOneIsUnderWayComesAfterIt) {
    Bench bench;
    bench.transport.delay = 300ms;
    const ProbeId id = bench.add(target(1), 10s);
    bench.run(100ms);
    bench.engine.probe_now(id);
    bench.engine.probe_now(id);
    bench.run(150ms);
    EXPECT_EQ(bench.transport.begun.size(), 1u);
    bench.run(1s);
    ASSERT_EQ(bench.transport.begun.size(), 2u);
    EXPECT_EQ(bench.transport.begun[1].at - bench.transport.begun[0].at, 300ms);
}

TEST(ProbeEngine, CallbacksMayAddAndRemoveAnything) {
    Bench bench;
    std::vector<ProbeId> ids;
    int calls = 0, late_calls = 0;
    // The first that is called removes all, itself too, and adds another in their place.
    const auto callback = [&](const ProbeResult&) {
        ++calls;
        for (const ProbeId id : ids) bench.engine.remove(id);
        ids.clear();
        bench.engine.add(target(7), 1s, "later", [&](const ProbeResult&) { ++late_calls; });
    };
    for (std::uint32_t i = 0; i < 10; ++i) {
        ids.push_back(bench.engine.add(target(i), 1s, "web", callback));
        ids.push_back(bench.engine.add(target(i), 1s, "web", callback));
    }
    bench.engine.turn();  // all begin within this moment, and are answered together
    bench.transport.clock += 50ms;
    bench.engine.turn();
    EXPECT_EQ(calls, 1);
    bench.run(5s);
    EXPECT_EQ(calls, 1);
    EXPECT_GE(late_calls, 4);
    EXPECT_EQ(bench.engine.statistics().targets, 1u);
    EXPECT_EQ(bench.engine.statistics().owners.count("later"), 1u);
}

TEST(ProbeEngine, RemovingEndsAProbeUnderWay) {
    Bench bench;
    bench.transport.answers = false;
    const ProbeId id = bench.add(target(1), 1s);
    bench.run(10ms);
    EXPECT_EQ(bench.transport.alive, 1);
    bench.engine.remove(id);
    EXPECT_EQ(bench.transport.alive, 0);
    bench.engine.remove(id);
    bench.run(5s);
    EXPECT_TRUE(bench.results.empty());
    EXPECT_EQ(bench.engine.next_turn(), std::nullopt);
}

TEST(ProbeEngine, WhatThisMachineLacksIsNoVerdict) {
    Bench bench;
    bench.transport.verdict = {std::nullopt, "Too many open files"};
    bench.add(target(1), 1s);
    bench.run(10s);
    EXPECT_TRUE(bench.results.empty());
    const auto statistics = bench.engine.statistics();
    EXPECT_GE(statistics.unsent, 9u);
    EXPECT_EQ(statistics.unsent_why, "Too many open files");
    EXPECT_EQ(statistics.owners.at("web").duration.count(), 0u);
}

// A probe that takes the whole interval is followed by the next one, and none is skipped.
TEST(ProbeEngine, TimeoutAsLongAsTheInterval) {
    Bench bench;
    bench.transport.answers = false;
    bench.add(target(1, 1s), 1s);
    bench.run(30s);
    EXPECT_GE(bench.results.size(), 28u);
    EXPECT_LE(bench.transport.most_alive, 1);
}

}  // namespace
}  // namespace weir
