// Many backends fail at once, all fail, one returns; and one that flaps ten times a second: from probes'
// results to what becomes of packets. Judged as in consistency_gate.h.
#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/pipeline/consistency_gate.h"
#include "tests/support/sanitized.h"

namespace weir::test::consistency {
namespace {

constexpr Milliseconds kStep{100};

// A gate whose pools have `members` healthy backends each, and a packet of every flow on its way.
class Pools {
  public:
    Pools(const std::array<Rules, kPools>& rules, unsigned members, std::uint32_t flows)
        : gate(rules, 2, flows, 8'192, 3), members_(members), flows_(flows) {
        for (unsigned pool = 0; pool < kPools; ++pool)
            for (unsigned place = 0; place < members; ++place) gate.model.add(pool * kPlaces + place, false);
        gate.apply();
        report(0, members, true);
        step();
        send();
    }
    // Of every pool the places first .. end - 1, as many results as any threshold takes.
    void report(unsigned first, unsigned end, bool success) {
        for (unsigned pool = 0; pool < kPools; ++pool)
            for (unsigned place = first; place < end; ++place)
                for (int n = 0; n < 3; ++n) gate.result(pool * kPlaces + place, success);
        gate.flush();
    }
    // The workers take what is in force.
    void step() {
        gate.world.latch_all();
        gate.pass(kStep);
    }
    // A packet of every flow; how many found nobody, by pool.
    std::array<std::uint64_t, kPools> send() {
        gate.send(flows_, [](const Flow&) { return false; });
        std::array<std::uint64_t, kPools> homeless{};
        for (const Flow& flow : gate.flows()) homeless[flow.pool()] += flow.home == Flow::kNone ? 1 : 0;
        return homeless;
    }
    // How many flows a pool has.
    [[nodiscard]] std::uint64_t flows_of(unsigned pool) const {
        return static_cast<std::uint64_t>(
            std::ranges::count_if(gate.flows(), [&](const Flow& flow) { return flow.pool() == pool; }));
    }
    // How many of them are at the places first .. end - 1.
    [[nodiscard]] std::uint64_t at(unsigned pool, unsigned first, unsigned end) const {
        return static_cast<std::uint64_t>(std::ranges::count_if(gate.flows(), [&](const Flow& flow) {
            return flow.home >= pool * kPlaces + first && flow.home < pool * kPlaces + end;
        }));
    }
    [[nodiscard]] const PoolHealth& health(unsigned pool) {
        return *gate.world.monitor().pool(pool_name(pool));
    }
    [[nodiscard]] std::size_t withdrawn() {
        return gate.world.monitor().withdrawn_vips(*gate.world.world().config()).size();
    }

    Gate gate;

  private:
    unsigned members_;
    std::uint32_t flows_;
};

// By pool: fails open with less than half; fails open with none; drops; is withdrawn; resets flows of the
// dead; then three that drop.
constexpr std::array<Rules, kPools> kPolicies = {{
    {.least_percentage = 50},
    {},
    {.below = Rules::Below::drop},
    {.below = Rules::Below::withdraw},
    {.of_dead = Rules::OfDead::reset, .below = Rules::Below::drop},
    {.below = Rules::Below::drop},
    {.below = Rules::Below::drop},
    {.below = Rules::Below::drop},
}};
constexpr unsigned kMembers = 20, kSurvivors = 2;
constexpr std::uint32_t kFlows = kSanitized ? 1'000 : 4'000, kFlappingFlows = kSanitized ? 200 : 1'000;

using PoolFailure = DriversTest;

TEST_F(PoolFailure, NineOfTenAtOnceThenAllThenOneReturns) {
    Pools pools(kPolicies, kMembers, kFlows);
    Gate& gate = pools.gate;
    pools.report(kSurvivors, kMembers, false);
    pools.step();
    pools.send();
    pools.send();  // those that were reset begin anew
    EXPECT_GT(pools.at(0, kSurvivors, kMembers), kFlows / kPools / 2u) << "fails open: nobody moves";
    for (unsigned pool = 1; pool < kPools; ++pool)
        EXPECT_EQ(pools.at(pool, 0, kSurvivors), pools.flows_of(pool)) << "the rest serves all";
    EXPECT_TRUE(pools.health(0).fails_open);
    EXPECT_EQ(pools.withdrawn(), 0u);
    EXPECT_EQ(gate.findings.wrong(), 0u);
    print_figure("18 of 20 backends fail at once: %llu flows moved, %llu reset, 0 broken, 0 refused",
                 static_cast<unsigned long long>(gate.findings.moved_from_dead),
                 static_cast<unsigned long long>(gate.findings.cut));

    pools.report(0, kSurvivors, false);
    pools.step();
    pools.send();
    const auto homeless = pools.send();
    EXPECT_EQ(homeless[0], 0u);
    EXPECT_EQ(homeless[1], 0u) << "fails open";
    for (unsigned pool = 2; pool < kPools; ++pool) EXPECT_EQ(homeless[pool], pools.flows_of(pool));
    EXPECT_TRUE(pools.health(1).fails_open);
    EXPECT_TRUE(pools.health(2).below_minimum);
    EXPECT_EQ(pools.withdrawn(), 2u) << "the VIP of either family";
    EXPECT_EQ(gate.findings.wrong(), 0u);

    const std::uint64_t generation = gate.world.world().generation();
    for (unsigned pool = 0; pool < kPools; ++pool) gate.result(pool * kPlaces + 7, true);
    gate.flush();
    EXPECT_EQ(gate.world.world().generation(), generation + 1) << "one result is enough";
    pools.step();
    const auto after = pools.send();
    for (unsigned pool = 0; pool < kPools; ++pool) EXPECT_EQ(after[pool], 0u) << pool;
    for (unsigned pool = 1; pool < kPools; ++pool) {
        EXPECT_EQ(pools.at(pool, 7, 8), pools.flows_of(pool));
        EXPECT_FALSE(pools.health(pool).below_minimum);
    }
    EXPECT_EQ(pools.withdrawn(), 0u);
    EXPECT_EQ(gate.findings.wrong(), 0u);
    gate.world.expect_consistent();
    print_figure(
        "all fail: fail_open serves on, drop and withdraw refuse all (%llu packets), 2 VIPs "
        "withdrawn; one returns: all flows served in the generation of its first success",
        static_cast<unsigned long long>(gate.findings.refused));
}

// A backend that is healthy gives these results ten times a second, over and over; how often its verdict has
// changed after 60 of them, counted by hand. F fails, S succeeds.
struct Flapping {
    const char* pattern;
    unsigned healthy_threshold, unhealthy_threshold, changes;
};
constexpr Flapping kFlappings[] = {
    {"FS", 1, 1, 60},  {"FS", 1, 3, 0},      {"FS", 3, 1, 1},      {"FS", 3, 3, 0},      {"FFS", 1, 1, 40},
    {"FFS", 1, 3, 0},  {"FFS", 3, 1, 1},     {"FFS", 3, 3, 0},     {"FFFS", 1, 1, 30},   {"FFFS", 1, 3, 30},
    {"FFFS", 3, 1, 1}, {"FFFS", 3, 3, 1},    {"FSSS", 1, 1, 30},   {"FSSS", 1, 3, 0},    {"FSSS", 3, 1, 30},
    {"FSSS", 3, 3, 0}, {"FFFSSS", 1, 1, 20}, {"FFFSSS", 1, 3, 20}, {"FFFSSS", 3, 1, 20}, {"FFFSSS", 3, 3, 20},
};

// The tables in force, held so that a new one cannot be taken for an old one.
std::vector<std::shared_ptr<const PoolTable>> tables_of(Gate& gate) {
    return gate.world.world().snapshot()->pools;
}

TEST_F(PoolFailure, FlappingAtTenHertzRebuildsNoMoreThanVerdictsChange) {
    std::uint64_t builds_in_all = 0, results = 0, packets = 0;
    for (const Flapping& row : kFlappings) {
        std::array<Rules, kPools> rules{};
        for (Rules& one : rules)
            one = {.healthy_threshold = row.healthy_threshold,
                   .unhealthy_threshold = row.unhealthy_threshold};
        Pools pools(rules, 8, kFlappingFlows);
        unsigned builds = 0, most = 0;
        for (unsigned n = 0; n < 60; ++n) {
            const auto before = tables_of(pools.gate);
            for (unsigned pool = 0; pool < kPools; ++pool)
                pools.gate.result(pool * kPlaces, row.pattern[n % std::strlen(row.pattern)] == 'S');
            pools.gate.flush();
            const auto after = tables_of(pools.gate);
            unsigned now = 0;
            for (std::size_t pool = 0; pool < after.size(); ++pool)
                now += before[pool] != after[pool] ? 1 : 0;
            builds += now;
            most = std::max(most, now);
            pools.step();
            pools.send();
        }
        EXPECT_EQ(builds, row.changes * kPools)
            << row.pattern << " " << row.healthy_threshold << "/" << row.unhealthy_threshold;
        EXPECT_LE(most, kPools) << "one for a result";
        EXPECT_EQ(pools.gate.findings.wrong(), 0u) << row.pattern;
        pools.gate.world.expect_consistent();
        builds_in_all += builds;
        results += 60u * kPools;
        packets += pools.gate.findings.packets;
    }
    print_figure(
        "flapping at 10 Hz, 5 patterns, thresholds 1/1 1/3 3/1 3/3: %llu tables built for %llu "
        "results; %llu packets, 0 flows of healthy backends moved",
        static_cast<unsigned long long>(builds_in_all), static_cast<unsigned long long>(results),
        static_cast<unsigned long long>(packets));
}

}  // namespace
}  // namespace weir::test::consistency
