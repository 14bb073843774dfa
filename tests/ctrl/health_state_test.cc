// The pure parts of health: dampening, the state that is shown, and what a pool does with its members.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ctrl/backend_state.h"
#include "ctrl/health/health.h"
#include "ctrl/health/pool_policy.h"

namespace weir {
namespace {

// One letter a probe: s a success, f a failure; and the verdict after each: - none, H healthy, U unhealthy.
std::string verdicts_after(std::string_view probes, unsigned rise, unsigned fall) {
    BackendHealth health;
    std::string verdicts;
    for (const char probe : probes) {
        health = probe == 's' ? after_success(health, {rise, fall})
                              : after_failure(health, UnhealthyReason::timeout, {rise, fall});
        verdicts += health.verdict == HealthVerdict::none      ? '-'
                    : health.verdict == HealthVerdict::healthy ? 'H'
                                                               : 'U';
    }
    return verdicts;
}

TEST(Dampen, VerdictsByConsecutiveAnswers) {
    struct Row {
        unsigned rise, fall;
        const char *probes, *verdicts;
    };
    const Row rows[] = {
        {3, 2, "s", "H"},    // one success is enough at first
        {3, 2, "ff", "-U"},  // failures need their number at once
        {3, 2, "fs", "-H"},
        {3, 2, "ffsss", "-UUUH"},
        {3, 2, "ffssfsss", "-UUUUUUH"},    // not cumulative
        {3, 2, "sfsfsfsff", "HHHHHHHHU"},  // nor that way
        {1, 1, "sfsfsf", "HUHUHU"},
        {1, 3, "sfffsfff", "HHHUHHHU"},
        {3, 1, "sfsssf", "HUUUHU"},
        {3, 3, "ffsfffsssfff", "--HHHUUUHHHU"},
        {100, 100, "sf", "HH"},
    };
    for (const Row& row : rows)
        EXPECT_EQ(verdicts_after(row.probes, row.rise, row.fall), row.verdicts)
            << row.probes << " with " << row.rise << "/" << row.fall;
}

TEST(Dampen, TheReasonIsTheNewestFailures) {
    BackendHealth health = after_failure({}, UnhealthyReason::timeout, {3, 2});
    health = after_failure(health, UnhealthyReason::response_code_mismatch, {3, 2});
    EXPECT_EQ(health.verdict, HealthVerdict::unhealthy);
    EXPECT_EQ(name_of(health.reason), "Target.ResponseCodeMismatch");
    health = after_failure(health, UnhealthyReason::failed_health_checks, {3, 2});
    EXPECT_EQ(name_of(health.reason), "Target.FailedHealthChecks");
}

TEST(BackendStatus, EveryStateAndReasonOfELB) {
    const BackendHealth healthy{.verdict = HealthVerdict::healthy};
    const auto sick = [](UnhealthyReason why) {
        return BackendHealth{.verdict = HealthVerdict::unhealthy, .reason = why};
    };
    struct Row {
        BackendFacts facts;
        std::string_view state, reason;
    };
    const Row rows[] = {
        {{.in_every_worker = false}, "initial", "Elb.RegistrationInProgress"},
        {{}, "initial", "Elb.InitialHealthChecking"},
        {{.health = healthy}, "healthy", ""},
        {{.in_every_worker = false, .health = healthy}, "healthy", ""},  // kept over a restart
        {{.health = sick(UnhealthyReason::timeout)}, "unhealthy", "Target.Timeout"},
        {{.health = sick(UnhealthyReason::response_code_mismatch)},
         "unhealthy",
         "Target.ResponseCodeMismatch"},
        {{.health = sick(UnhealthyReason::failed_health_checks)}, "unhealthy", "Target.FailedHealthChecks"},
        {{.keeps_flows = true, .health = sick(UnhealthyReason::timeout)},
         "unhealthy.draining",
         "Target.Timeout"},
        {{.leaving = Leaving::deregistering, .health = healthy},
         "draining",
         "Target.DeregistrationInProgress"},
        {{.leaving = Leaving::stopping}, "draining", "Target.DeregistrationInProgress"},
        {{.leaving = Leaving::deregistered, .health = healthy}, "unused", "Target.NotRegistered"},
        {{.leaving = Leaving::stopped, .health = healthy}, "unused", "Target.InvalidState"},
        {{.pool_is_used = false, .health = healthy}, "unused", "Target.NotInUse"},
        {{.has_check = false}, "unavailable", "Target.HealthCheckDisabled"},
        {{.pool_is_used = false, .has_check = false}, "unused", "Target.NotInUse"},
        {{.can_be_probed = false}, "unavailable", "Elb.InternalError"},
        {{.can_be_probed = false, .health = healthy}, "healthy", ""},
    };
    for (const Row& row : rows) {
        const BackendStatus status = backend_status(row.facts);
        EXPECT_EQ(name_of(status.state), row.state);
        EXPECT_EQ(status.reason, row.reason) << row.state;
    }
}

// Members as letters: H healthy, U unhealthy, I initial, D drained, X both drained and unhealthy,
// h u i in another zone, 0 of weight 0.
std::vector<PoolMember> members_of(std::string_view letters) {
    std::vector<PoolMember> members;
    for (const char letter : letters) {
        PoolMember member;
        const char upper = static_cast<char>(letter & ~0x20);
        member.verdict = upper == 'U' || upper == 'X' ? HealthVerdict::unhealthy
                         : upper == 'I'               ? HealthVerdict::none
                                                      : HealthVerdict::healthy;
        member.drained = letter == 'D' || letter == 'X';
        member.has_weight = letter != '0';
        member.is_near = letter < 'a';
        members.push_back(member);
    }
    return members;
}

// + eligible; else its known flows: d keep going, x lost, c cut.
std::string traffic_of(const PoolTraffic& traffic) {
    std::string text;
    for (const MemberTraffic& member : traffic.members)
        text += member.eligible                          ? '+'
                : member.known == TrafficState::draining ? 'd'
                : member.known == TrafficState::absent   ? 'x'
                                                         : 'c';
    return text;
}

TEST(PoolPolicy, WhoGetsTraffic) {
    struct Row {
        const char* members;
        PoolPolicy policy;
        const char* traffic;
        bool below_minimum, spills_over;
    };
    using enum BelowMinimum;
    const Row rows[] = {
        {"HH", {}, "++", false, false},
        {"HU", {}, "+x", false, false},
        {"HI", {}, "+d", false, false},
        {"UU", {}, "++", true, false},    // fails open
        {"II", {}, "++", true, false},    // at the start too
        {"UUD", {}, "++d", true, false},  // not whom the operator took out
        {"D", {}, "d", false, false},     // nobody to count: nothing is below
        {"HX", {}, "+x", false, false},   // dead is dead, drained or not
        {"UX", {}, "+d", true, false},    // but not while the pool fails open
        {"", {}, "", false, false},
        {"UU", {.action = drop}, "xx", true, false},
        {"HU", {.count = 2, .action = drop}, "dx", true, false},
        {"HHU", {.count = 2, .action = drop}, "++x", false, false},
        {"UU", {.action = withdraw}, "xx", true, false},
        {"HU", {.count = 2, .action = withdraw}, "+x", true, false},
        {"HUUU", {.count = 1, .percentage = 50}, "++++", true, false},
        {"HHUU", {.count = 1, .percentage = 50}, "++xx", false, false},
        {"HUUUUUUUUU", {.count = 1, .percentage = 10}, "+xxxxxxxxx", false, false},
        {"HU0", {.count = 1, .percentage = 50}, "+x+", false, false},  // of weight 0: has no slots anyway
        {"UU", {.count = 0}, "xx", false, false},                      // the operator wants no fail-open
        {"Hh", {.cross_zone = false}, "+d", false, false},
        {"Uh", {.cross_zone = false}, "x+", false, true},  // the zone has too few
        {"Hh", {.count = 2, .cross_zone = false}, "++", false, true},
        {"Uu", {.cross_zone = false}, "++", true, true},
        {"h", {.cross_zone = false}, "+", false, true},
        {"HUhh", {.percentage = 60, .cross_zone = false}, "+x++", false, true},
    };
    for (const Row& row : rows) {
        const PoolTraffic traffic = judge_pool(members_of(row.members), row.policy);
        EXPECT_EQ(traffic_of(traffic), row.traffic) << row.members;
        EXPECT_EQ(traffic.below_minimum, row.below_minimum) << row.members;
        EXPECT_EQ(traffic.spills_over, row.spills_over) << row.members;
        EXPECT_EQ(traffic.fails_open, row.below_minimum && row.policy.action == fail_open) << row.members;
    }
}

TEST(PoolPolicy, FlowsOfTheUnhealthyAsThePoolSays) {
    std::vector<PoolMember> members = members_of("HUU");
    members[1].keeps_flows = true;
    members[2].cuts_flows = true;
    EXPECT_EQ(traffic_of(judge_pool(members, {})), "+dc");
    members[0].verdict = HealthVerdict::unhealthy;
    EXPECT_EQ(traffic_of(judge_pool(members, {})), "+++") << "who gets new flows keeps the old ones";
    members = members_of("HD");
    members[1].cuts_flows = true;
    EXPECT_EQ(traffic_of(judge_pool(members, {})), "+c") << "the drain's deadline has passed";
}

TEST(PoolPolicy, VipsAreWithdrawnOnlyIfThePoolSaysSo) {
    EXPECT_TRUE(judge_pool(members_of("UU"), {.action = BelowMinimum::withdraw}).withdrawn);
    EXPECT_TRUE(judge_pool({}, {.action = BelowMinimum::withdraw}).withdrawn) << "nobody could serve";
    EXPECT_FALSE(judge_pool(members_of("HU"), {.action = BelowMinimum::withdraw}).withdrawn);
    EXPECT_FALSE(judge_pool(members_of("UU"), {}).withdrawn);
}

TEST(PoolPolicy, WithoutAHealthCheckEverybodyCountsAsHealthy) {
    std::vector<PoolMember> members = members_of("II");
    for (PoolMember& member : members) member.has_check = false;
    const PoolTraffic traffic = judge_pool(members, {.count = 2});
    EXPECT_EQ(traffic_of(traffic), "++");
    EXPECT_FALSE(traffic.below_minimum);
}

}  // namespace
}  // namespace weir
