// The consistency gate: tens of thousands of live flows over two workers while backends are added, removed,
// replaced, drained, enabled, weighed, while they fail and recover and files are reordered, thousands of
// times in random order; among their pools are a sticky one, one that keeps to its zone, and one that starts
// slowly. The judges are consistency_model.h and consistency_clients.h. Seeded.
#include <malloc.h>

#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/pipeline/consistency_gate.h"

namespace weir::test::consistency {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint32_t kChanges = 600, kFlows = 6'000;
#else
constexpr std::uint32_t kChanges = 6'400, kFlows = 52'000;
#endif
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

enum class Change {
    added,
    removed,
    removed_now,
    replaced,
    drained,
    enabled,
    weighed,
    reordered,
    died,
    recovered,
    result,
    pool_died,
    pool_recovered
};
constexpr std::array<const char*, 13> kChangeNames = {
    "added",     "removed", "removed --now", "replaced", "drained",   "enabled",       "weighed",
    "reordered", "died",    "recovered",     "result",   "pool died", "pool recovered"};

// The operator, and fate.
class Churn {
  public:
    explicit Churn(Gate& gate) : gate_(gate) {
        for (unsigned pool = 0; pool < kPools; ++pool)
            for (unsigned n = 0; n < 12; ++n) gate_.model.add(pool * kPlaces + n, false);
        gate_.apply();
        registrations = kPools * 12;
        for (unsigned b = 0; b < kBackends; ++b)
            if (gate_.model[b].registered) report(b, true);
        gate_.flush();
    }
    // One change, in force when the workers take it.
    void change() {
        pool_ = static_cast<unsigned>(gate_.random() % kPools);
        while (!attempt(static_cast<Change>(pick_kind_(gate_.random)))) {
        }
    }
    std::array<std::uint64_t, kChangeNames.size()> done{};
    std::uint64_t registrations = 0;  // that weir needed an id for

  private:
    [[nodiscard]] std::vector<unsigned> members(const std::function<bool(const Backend&)>& which) {
        std::vector<unsigned> found;
        for (unsigned b = pool_ * kPlaces; b < (pool_ + 1) * kPlaces; ++b)
            if (which(gate_.model[b])) found.push_back(b);
        return found;
    }
    std::optional<unsigned> pick(const std::function<bool(const Backend&)>& which) {
        const std::vector<unsigned> found = members(which);
        if (found.empty()) return std::nullopt;
        return found[gate_.random() % found.size()];
    }
    static bool registered(const Backend& one) { return one.registered; }
    // Results enough for a verdict.
    bool report(unsigned backend, bool success) {
        const bool probed = gate_.result(backend, success);
        return gate_.result(backend, success) && probed;
    }
    void add(unsigned backend) {
        const bool known = gate_.is_known(backend);
        registrations += known ? 0 : 1;
        gate_.model.add(backend, known);
    }
    [[nodiscard]] bool name_is_free(unsigned backend) {
        const unsigned pool = pool_of(backend) * kPlaces;
        return !gate_.model[pool + backend % kNames].registered &&
               !gate_.model[pool + kNames + backend % kNames].registered;
    }

    // False: not now.
    bool attempt(Change kind) {
        const bool was_done = is_operators(kind) ? operate(kind) : strike(kind);
        done[static_cast<std::size_t>(kind)] += was_done ? 1 : 0;
        return was_done;
    }
    static bool is_operators(Change kind) { return kind <= Change::reordered; }
    bool operate(Change kind) {
        if (!alter(kind)) return false;
        if (kind == Change::removed_now) {
            const BackendKey key{pool_name(pool_), backend_name(leaver_)};
            gate_.apply(false, {&key, 1});
            return true;
        }
        gate_.apply(kind == Change::reordered);
        if (kind == Change::added || kind == Change::replaced) {
            report(newcomer_, gate_.random() % 8 != 0);
            gate_.flush();
        }
        return true;
    }
    bool alter(Change kind) {
        const std::size_t size = members(registered).size();
        const auto chosen = pick(registered);
        switch (kind) {
            case Change::added: {
                newcomer_ = pool_ * kPlaces + static_cast<unsigned>(gate_.random() % kPlaces);
                if (size >= 24 || !name_is_free(newcomer_)) return false;
                add(newcomer_);
                return true;
            }
            case Change::removed:
                if (size <= 6) return false;
                gate_.model.remove(*chosen, gate_.world.now());
                return true;
            case Change::removed_now:
                if (size <= 6) return false;
                leaver_ = *chosen;
                gate_.model.remove_now(leaver_);
                return true;
            case Change::replaced:
                newcomer_ = *chosen ^ kNames;
                gate_.model.remove(*chosen, gate_.world.now());
                add(newcomer_);
                return true;
            case Change::weighed:
                gate_.model[*chosen].weight = static_cast<unsigned>(gate_.random() % 5);
                return true;
            case Change::drained:
                if (gate_.model[*chosen].drained || gate_.random() % 2 == 0) return false;
                gate_.model.drain(*chosen, gate_.world.now());
                return true;
            case Change::enabled: {
                const auto out = pick([](const Backend& one) { return one.registered && one.drained; });
                if (out) gate_.model.enable(*out);
                return out.has_value();
            }
            default:
                return true;
        }
    }
    // Probes' results. Who has left but drains is probed too.
    bool strike(Change kind) {
        using enum Backend::Verdict;
        const auto of = [&](Backend::Verdict verdict) {
            return members([&](const Backend& one) { return one.verdict == verdict; });
        };
        const bool dies = kind == Change::died || kind == Change::pool_died;
        const std::vector<unsigned> able = of(dies ? healthy : unhealthy);
        bool any = false;
        if (kind == Change::result)
            any = gate_.result(*pick(registered), gate_.random() % 4 != 0);
        else if (kind == Change::pool_died || kind == Change::pool_recovered)
            for (const unsigned backend : able) any |= gate_.random() % 16 != 0 && report(backend, !dies);
        else if (!able.empty())
            any = report(able[gate_.random() % able.size()], !dies);
        gate_.flush();
        return any;
    }

    Gate& gate_;
    unsigned pool_ = 0, newcomer_ = 0, leaver_ = 0;
    // As in Change.
    std::discrete_distribution<int> pick_kind_{14, 8, 7, 5, 8, 8, 12, 5, 10, 14, 10, 1, 2};
};

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
// That each kind of pool has shown what it is for.
void expect_placement(Gate& gate) {
    const Placed& p = gate.findings.placed;
    const std::uint64_t fresh = gate.findings.fresh;
    EXPECT_EQ(p.strayed, 0u);
    EXPECT_GE(p.kept, fresh / 40);
    EXPECT_GE(p.elsewhere, fresh / 1'000) << "the duration never ends";
    EXPECT_GE(p.near, fresh / 80);
    EXPECT_GE(p.spilled, fresh / 500);
    const auto early = static_cast<double>(p.early), late = static_cast<double>(p.late);
    EXPECT_LE(early, 3 + p.early_by_weight / 4);
    EXPECT_GE(p.early_by_weight, static_cast<double>(fresh) / 5'000);
    EXPECT_NEAR(late, p.late_by_weight, 10 + p.late_by_weight / 6);
    std::uint64_t handed_over = 0;
    for (unsigned w = 0; w < kWorkers; ++w) {
        const WorkerCounters& counters = gate.world.worker(w).counters();
        EXPECT_EQ(counters.sticky_bypassed.value() + counters.sticky_full.value() +
                      counters.sticky_evictions.value(),
                  0u)
            << "else nobody has promised anything";
        handed_over += counters.sticky_handed_over.value();
    }
    EXPECT_GE(handed_over, p.kept / 4) << "as many clients have their keeper at the other worker";
}

TEST_F(ConsistencyGate, NoFlowOfABackendInServiceMovesAndNoPacketGoesToADeadOne) {
    Gate gate(kRules, kWorkers, kFlows, kTable, 20'261'127);
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
    expect_placement(gate);
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
}

}  // namespace
}  // namespace weir::test::consistency
