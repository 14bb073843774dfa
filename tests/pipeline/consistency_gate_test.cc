// The consistency gate: tens of thousands of live flows over two workers while backends are added, removed,
// replaced, drained, enabled, weighed, while they fail and recover and files are reordered, thousands of
// times in random order; among their pools are a sticky one, one that keeps to its zone, and one that starts
// slowly. Once with every one-way mode, once in mode nat, where the backends answer. The judges are
// consistency_model.h, consistency_clients.h and consistency_sessions.h. Seeded.
#include <malloc.h>

#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/pipeline/consistency_churn.h"
#include "tests/support/sanitized.h"

namespace weir::test::consistency {
namespace {

constexpr std::uint32_t kChanges = kSanitized ? 600 : 6'400, kFlows = kSanitized ? 6'000 : 52'000;
constexpr unsigned kWorkers = 2;
constexpr std::uint64_t kTable = 131'072;
// Every flow sends each 10 s, long before weir forgets it.
constexpr Milliseconds kStep{100};
constexpr std::uint32_t kPacketsAStep = kFlows / 100;

constexpr std::array<Rules, kPools> kRules = {{
    {},
    {.of_dead = Rules::OfDead::keep,
     .healthy_threshold = 2,
     .unhealthy_threshold = 2,
     .least_percentage = 50,
     .drain = Milliseconds(20'000),
     .cuts_at_the_end = true,
     .keeps_for = Milliseconds(15'000)},
    {.of_dead = Rules::OfDead::reset,
     .below = Rules::Below::drop,
     .unhealthy_threshold = 2,
     .drain = Milliseconds(30'000)},
    {.below = Rules::Below::withdraw,
     .healthy_threshold = 2,
     .least_count = 2,
     .drain = Milliseconds(15'000),
     .cuts_at_the_end = true},
    {.of_dead = Rules::OfDead::keep, .least_count = 2},
    {.drain = Milliseconds(20'000), .sticks_for = Milliseconds(12'000)},
    {.least_count = 3, .least_percentage = 60, .drain = Milliseconds(20'000), .near_first = true},
    {.drain = Milliseconds(20'000), .slow_start = Milliseconds(10'000)},
}};
static_assert(kRules[kStickyPool].sticks_for.count() != 0);

class Workers {
  public:
    explicit Workers(Gate& gate) : gate_(gate) {}
    // Each takes the newest snapshot when it likes; now and then one does not for so long that publication is
    // held back. All sweep their tables, once in 5 s.
    void step() {
        for (unsigned w = 0; w < kWorkers; ++w) {
            if (stalled_[w] == 0 && gate_.random() % 100 == 0) stalled_[w] = 15;
            if (stalled_[w] != 0)
                --stalled_[w];
            else if (gate_.random() % 2 == 0)
                gate_.world.worker(w).latch();
            gate_.world.worker(w).sweep(gate_.world.tick(),
                                        gate_.world.worker(w).pipeline().flows().buckets() / 50);
        }
    }

  private:
    Gate& gate_;
    std::array<unsigned, kWorkers> stalled_{};
};

using ConsistencyGate = DriversTest;

// Clients of a backend that leaves go sooner.
bool is_last_packet(Gate& gate, const Flow& flow) {
    const bool leaves = flow.home != Flow::kNone && !gate.newest(flow.home).takes_new;
    return gate.random() % (leaves ? 3 : 8) == 0;
}

// While no old snapshot waits to be freed. (Under a sanitizer it is 0.)
std::size_t heap_in_use(Gate& gate) {
    for (unsigned n = 0; n == 0 || (n < 20 && gate.world.world().retired() != 0); ++n) {
        gate.world.latch_all();
        gate.pass(kStep);
    }
    EXPECT_EQ(gate.world.world().retired(), 0u);
    return mallinfo2().uordblks;
}

void print(const Gate& gate, const Churn& churn) {
    const auto number = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
    const Findings& f = gate.findings;
    std::string kinds;
    for (std::size_t kind = 0; kind < churn.done.size(); ++kind)
        kinds += (kind != 0 ? ", " : "") + std::to_string(churn.done[kind]) + " " + kChangeNames[kind];
    print_figure("changes: %s", kinds.c_str());
    print_figure(
        "%llu packets judged, %llu of known flows; %u flows live, %llu ended, %llu cut by RST, "
        "%llu moved from dead backends, %llu refused (nobody in service)",
        number(f.packets), number(f.known), kFlows, number(f.ended), number(f.cut), number(f.moved_from_dead),
        number(f.refused));
    print_figure(
        "%llu flows broken; %llu packets to dead backends, %llu after the acknowledgement; %llu new "
        "flows to closed backends; %llu packets lost; %llu wrong RSTs",
        number(f.broken), number(f.to_dead), number(f.to_dead_acknowledged), number(f.new_to_closed),
        number(f.lost), number(f.wrong_reset));
    const Placed& p = f.placed;
    print_figure(
        "sticky clients: %llu new flows in time, %llu not at the client's backend; %llu too late, of which "
        "%llu went elsewhere",
        number(p.kept), number(p.strayed), number(p.anew), number(p.elsewhere));
    print_figure("a zone: %llu new flows stayed in it, %llu spilled over", number(p.near), number(p.spilled));
    print_figure(
        "slow start: %llu new flows in the first fifth of a ramp (%.0f by weight), %llu after it (%.0f)",
        number(p.early), p.early_by_weight, number(p.late), p.late_by_weight);
}
std::uint64_t sum(Gate& gate, Counter WorkerCounters::*counter) {
    std::uint64_t total = 0;
    for (unsigned w = 0; w < kWorkers; ++w) total += (gate.world.worker(w).counters().*counter).value();
    return total;
}
std::uint64_t sum_dropped(Gate& gate, DropReason reason) {
    std::uint64_t total = 0;
    for (unsigned w = 0; w < kWorkers; ++w) total += dropped(gate.world.worker(w).counters(), reason);
    return total;
}

void expect_sessions(Gate& gate) {
    const auto number = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
    const Translated& t = gate.findings.translated;
    const std::uint64_t travelled = sum(gate, &WorkerCounters::replies_handed_over);
    EXPECT_EQ(t.rebound, 0u);
    EXPECT_EQ(t.shared, 0u);
    EXPECT_EQ(t.lost_replies, 0u);
    EXPECT_EQ(t.misdirected, 0u);
    EXPECT_EQ(t.revived, 0u);
    EXPECT_GE(t.late, t.begun / 20) << "nobody has left a dead backend";
    EXPECT_GE(travelled, t.replies / 3) << "each second one comes to the wrong worker";
    EXPECT_EQ(sum_dropped(gate, DropReason::unsolicited), t.late);
    EXPECT_EQ(sum_dropped(gate, DropReason::no_snat_port) + sum_dropped(gate, DropReason::session_full) +
                  sum(gate, &WorkerCounters::session_evictions),
              0u);
    print_figure(
        "mode nat: %llu sessions begun, %llu of them anew at a backend that was dead meanwhile, %llu TCP "
        "flows "
        "ended with their backend's; %llu flows that live got another SNAT tuple, %llu share one",
        number(t.begun), number(t.renewed), number(t.ended), number(t.rebound), number(t.shared));
    print_figure(
        "%llu replies by any worker, %llu of them travelled by ring; %llu lost, %llu not to their client "
        "from "
        "the VIP; %llu late ones of backends that were left, of which %llu passed",
        number(t.replies), number(travelled), number(t.lost_replies), number(t.misdirected), number(t.late),
        number(t.revived));
}
// When nobody is left, nor is any session.
void expect_no_session_without_a_backend(Gate& gate) {
    const std::uint64_t before = sum(gate, &WorkerCounters::sessions);
    EXPECT_GE(before, kFlows / 2);
    std::vector<BackendKey> all;
    for (unsigned b = 0; b < kBackends; ++b) {
        gate.model.remove_now(b);
        if (b % kPlaces < kNames) all.push_back({pool_name(pool_of(b)), backend_name(b)});
    }
    gate.apply(false, all);
    gate.world.latch_all();
    for (unsigned w = 0; w < kWorkers; ++w)
        for (unsigned n = 0; n < 3; ++n) gate.world.worker(w).sweep(gate.world.tick(), 1u << 20);
    EXPECT_EQ(sum(gate, &WorkerCounters::sessions), 0u);
    print_figure("%llu sessions were left; all backends cut: %llu", static_cast<unsigned long long>(before),
                 static_cast<unsigned long long>(sum(gate, &WorkerCounters::sessions)));
}

// That each kind of pool has shown what it is for. In mode nat fewer clients come more often and few are ever
// too late: what is rare there has been shown one way.
void expect_placement(Gate& gate, Shape shape) {
    const Placed& p = gate.findings.placed;
    const std::uint64_t fresh = gate.findings.fresh;
    EXPECT_EQ(p.strayed, 0u);
    EXPECT_GE(p.kept, fresh / 40);
    EXPECT_GE(p.near, fresh / 80);
    EXPECT_GE(p.spilled, fresh / 500);
    const auto early = static_cast<double>(p.early), late = static_cast<double>(p.late);
    EXPECT_LE(early, 3 + p.early_by_weight / 4);
    EXPECT_NEAR(late, p.late_by_weight, 10 + p.late_by_weight / 6);
    if (shape == Shape::one_way) {
        EXPECT_GE(p.elsewhere, fresh / 1'000) << "the duration never ends";
        EXPECT_GE(p.early_by_weight, static_cast<double>(fresh) / 5'000);
    }
    EXPECT_EQ(sum(gate, &WorkerCounters::sticky_bypassed) + sum(gate, &WorkerCounters::sticky_full) +
                  sum(gate, &WorkerCounters::sticky_evictions),
              0u)
        << "else nobody has promised anything";
    EXPECT_GE(sum(gate, &WorkerCounters::sticky_handed_over), p.kept / 4)
        << "as many clients have their keeper at the other worker";
}

void pass_gate(Shape shape) {
    Gate gate(kRules, kWorkers, kFlows, kTable, 20'261'127, shape);
    Churn churn(gate);
    Workers workers(gate);
    gate.world.latch_all();
    const auto ends = [&](const Flow& flow) { return is_last_packet(gate, flow); };
    for (unsigned part = 0; part < 100; ++part) gate.send(kPacketsAStep, ends);
    std::size_t early = 0, most_retired = 0, most_versions = 0;
    for (std::uint32_t n = 0; n < kChanges && gate.findings.wrong() == 0; ++n) {
        churn.change();
        gate.pass(kStep);
        workers.step();
        gate.send(kPacketsAStep, ends);
        most_retired = std::max(most_retired, gate.world.world().retired());
        most_versions = std::max(most_versions, gate.versions());
        if (n == kChanges / 3) early = heap_in_use(gate);
        if (n % 256 == 0) gate.world.expect_consistent();
    }
    const std::size_t late = heap_in_use(gate);
    gate.world.expect_consistent();
    print(gate, churn);
    EXPECT_EQ(gate.first_wrong, "");
    EXPECT_EQ(gate.findings.broken, 0u);
    EXPECT_EQ(gate.findings.to_dead, 0u);
    EXPECT_EQ(gate.findings.new_to_closed, 0u);
    EXPECT_EQ(gate.findings.lost, 0u);
    EXPECT_EQ(gate.findings.wrong_reset, 0u);
    expect_placement(gate, shape);
    if (shape == Shape::nat) expect_sessions(gate);
    EXPECT_EQ(gate.frames_in_use(), 0u);
    EXPECT_LE(most_retired, World::kMaxRetired);
    const std::uint32_t ids = gate.world.world().ids().backend_ids();
    EXPECT_LE(ids, kBackends);
    EXPECT_GE(churn.registrations, ids + kChanges / 40) << "ids are given away again";
    EXPECT_LE(late, early + (512u << 10)) << "memory grows";
    for (unsigned w = 0; w < kWorkers; ++w) {
        const WorkerCounters& counters = gate.world.worker(w).counters();
        EXPECT_EQ(counters.flow_full.value() + counters.flow_evictions.value(), 0u);
    }
    print_figure(
        "%u ids for %llu registrations; at most %zu snapshots waited to be freed; heap %zu KiB "
        "after a third, %zu KiB at the end",
        ids, static_cast<unsigned long long>(churn.registrations), most_retired, early >> 10, late >> 10);
    if (shape == Shape::nat) expect_no_session_without_a_backend(gate);
}

TEST_F(ConsistencyGate, NoFlowOfABackendInServiceMovesAndNoPacketGoesToADeadOne) {
    pass_gate(Shape::one_way);
}
TEST_F(ConsistencyGate, InModeNatEachKeepsItsSessionAndEachReplyComesToItsClient) { pass_gate(Shape::nat); }

}  // namespace
}  // namespace weir::test::consistency
