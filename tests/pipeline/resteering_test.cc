// All flows arrive at other workers at once, as after a reset of a port with another RETA: nobody there knows
// them, and the pools' Maglev tables alone say where they belong. Judged as in consistency_gate.h.
#include <cmath>

#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/pipeline/consistency_gate.h"
#include "tests/support/sanitized.h"

namespace weir::test::consistency {
namespace {

constexpr std::uint32_t kFlows = kSanitized ? 6'000 : 50'000;
constexpr unsigned kWorkers = 4, kMembers = 24;
constexpr std::uint64_t kTable = 65'536;

class Resteering : public DriversTest {
  protected:
    Resteering() {
        for (unsigned pool = 0; pool < kPools; ++pool)
            for (unsigned place = 0; place < kMembers; ++place)
                gate_.model.add(pool * kPlaces + place, false);
        gate_.apply();
        for (unsigned pool = 0; pool < kPools; ++pool)
            for (unsigned place = 0; place < kMembers; ++place) gate_.result(pool * kPlaces + place, true);
        gate_.flush();
        settle();
        steer_by(0);
        send_all();
    }
    void settle() {
        gate_.world.latch_all();
        gate_.pass(Milliseconds(100));
    }
    void steer_by(unsigned shift) {
        gate_.steer = [shift](const Flow& flow) { return flow.slot / Flow::kKinds + shift; };
    }
    // A packet of every flow. Returns how many have moved.
    std::uint64_t send_all() {
        const std::uint64_t before = gate_.findings.broken;
        for (std::uint32_t sent = 0; sent < kFlows; sent += kFlows / 50)
            gate_.send(kFlows / 50, [](const Flow&) { return false; });
        return gate_.findings.broken - before;
    }
    // By pool: the backends of its Maglev table's slots.
    [[nodiscard]] std::vector<std::vector<BackendId>> slots() {
        std::vector<std::vector<BackendId>> all;
        for (unsigned pool = 0; pool < kPools; ++pool) {
            const World& world = gate_.world.world();
            const PoolId id = world.ids().find_pool(pool_name(pool))->id;
            const PoolTable& table = *world.snapshot()->pools[index(id)];
            auto& of = all.emplace_back();
            for (const std::uint16_t member : table.maglev.slots()) of.push_back(table.members[member]);
        }
        return all;
    }
    // Of every pool: `removed` backends leave, as many come, one gets other weight.
    void change_pools(unsigned removed) {
        for (unsigned pool = 0; pool < kPools; ++pool) {
            for (unsigned n = 0; n < removed; ++n) {
                gate_.model.remove(pool * kPlaces + n, gate_.world.now());
                gate_.model.add(pool * kPlaces + kNames + n, false);
            }
            gate_.model[pool * kPlaces + removed].weight = 2;
        }
        gate_.apply();
        for (unsigned pool = 0; pool < kPools; ++pool)
            for (unsigned n = 0; n < removed; ++n) gate_.result(pool * kPlaces + kNames + n, true);
        gate_.flush();
        settle();
    }

    Gate gate_{{}, kWorkers, kFlows, kTable, 7};
};

TEST_F(Resteering, WithUnchangedPoolsNoFlowMoves) {
    EXPECT_EQ(gate_.findings.wrong(), 0u);
    steer_by(1);
    EXPECT_EQ(send_all(), 0u);
    EXPECT_EQ(gate_.findings.wrong(), 0u);
    print_figure("%u flows steered to other workers, pools unchanged: 0 broken", kFlows);
}

// A flow breaks exactly if its slot has changed hands since it began: no more than the slots' share, with
// four standard deviations of its sample.
TEST_F(Resteering, WithChangedPoolsAsManyFlowsMoveAsSlotsHave) {
    const auto before = slots();
    change_pools(1);
    EXPECT_EQ(send_all(), 0u) << "at their own workers none does";
    const auto after = slots();
    double changed = 0, all = 0;
    for (unsigned pool = 0; pool < kPools; ++pool) {
        all += static_cast<double>(before[pool].size());
        for (std::size_t slot = 0; slot < before[pool].size(); ++slot)
            changed += before[pool][slot] != after[pool][slot] ? 1 : 0;
    }
    const double share = changed / all;
    const double bound = kFlows * share + 4 * std::sqrt(kFlows * share * (1 - share));
    steer_by(1);
    const std::uint64_t broken = send_all();
    EXPECT_LE(static_cast<double>(broken), bound);
    // One of 24 gone, one come, one of double weight: what must move is 1/24 each for the first two (the same
    // slots, at best) and 1/25 for the third. Maglev moves some more.
    EXPECT_LE(share, 4.0 / kMembers);
    steer_by(0);
    const std::uint64_t back = send_all();
    EXPECT_LE(back, broken) << "those alone that the first steering had moved";
    EXPECT_EQ(gate_.findings.wrong(), broken + back);
    print_figure(
        "%u flows steered to other workers, of each pool of %u backends one replaced and one "
        "weighed anew: %llu broken (%.2f %%), bound %.0f from %.2f %% of the slots; %llu when "
        "steered back",
        kFlows, kMembers, static_cast<unsigned long long>(broken),
        100.0 * static_cast<double>(broken) / kFlows, bound, 100 * share,
        static_cast<unsigned long long>(back));
}

}  // namespace
}  // namespace weir::test::consistency
