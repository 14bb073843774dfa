// What weir promises of where new flows go, beyond that their backend takes them: a client of a sticky pool
// stays at its backend as long as that is in service and the client comes again in time, a pool that stays in
// its zone spills over only when it must, a backend that ramps gets less. Shares no code with weir.
#pragma once

#include <span>

#include "tests/pipeline/consistency_traffic.h"

namespace weir::test::consistency {

struct Placed {
    // New flows of sticky clients: in time; too late, and of those elsewhere than before; in time, but
    // elsewhere all the same, which is a promise broken.
    std::uint64_t kept = 0, anew = 0, elsewhere = 0, strayed = 0;
    std::uint64_t near = 0, spilled = 0;  // new flows of pools that stay near
    // New flows at backends that have just become healthy, and at those that have been ramping for long
    // enough; and how many it would be if they got theirs by weight.
    std::uint64_t early = 0, late = 0;
    double early_by_weight = 0, late_by_weight = 0;
};

// Clients of sticky pools, as far as what was seen of them says for certain where they belong.
class Clients {
  public:
    explicit Clients(std::uint32_t flows) : clients_((flows / Flow::kSlotsOfClient + 1) * 2) {}

    // A packet that no flow is known for has gone to `went` (kNone: nowhere). `begins`: it begins a flow, by
    // which the client's time begins anew. `stands`: of every worker, for nobody but weir knows which one
    // remembers the client; `newest`: of the world.
    void judge(const Flow& flow, unsigned went, bool begins, const Model& model,
               std::span<const Stands* const> stands, const Stands& newest, std::uint64_t oldest,
               Milliseconds now, Placed& placed) {
        const Rules& rules = model.rules(flow.pool());
        Client& client = clients_[flow.client()];
        const bool is_known =
            client.home != Flow::kNone && model[client.home].lives == client.life &&
            newest[client.home].udp_lost < client.since &&
            std::ranges::all_of(stands, [&](const Stands* of) { return (*of)[client.home].takes_new; });
        const Milliseconds silence = now - client.last;
        const bool is_over = silence >= rules.sticks_for + kCoarse;
        if (is_known && silence <= rules.sticks_for - kCoarse) {
            ++placed.kept;
            placed.strayed += went != client.home ? 1 : 0;
        } else if (is_known && is_over) {
            ++placed.anew;
            placed.elsewhere += went != client.home ? 1 : 0;
        }
        if (begins) note(client, flow.pool(), went, is_known && !is_over, model, stands, oldest, now);
    }

  private:
    // Between "in time" and "too late": a step of the gate, and the ticks of weir's clock.
    static constexpr Milliseconds kCoarse{200};
    struct Client {
        unsigned home = Flow::kNone, life = 0;
        std::uint64_t since = 0;  // no worker was before this version when it was placed last
        Milliseconds last{0};
    };
    // While workers follow different versions, its keeper may choose what this packet's worker does not take.
    static void note(Client& client, unsigned pool, unsigned went, bool keeps, const Model& model,
                     std::span<const Stands* const> stands, std::uint64_t oldest, Milliseconds now) {
        bool agree = true;
        for (unsigned b = pool * kPlaces; b < (pool + 1) * kPlaces; ++b)
            for (const Stands* of : stands) agree &= (*of)[b].takes_new == (*stands[0])[b].takes_new;
        if (went == Flow::kNone || (!agree && !(keeps && went == client.home)))
            client.home = Flow::kNone;
        else
            client = {went, model[went].lives, oldest, now};
    }

    std::vector<Client> clients_;
};

// A new flow of the pool, at `went`, where `stands` is the newest world.
inline void note_zone_and_ramp(unsigned pool, unsigned went, const Model& model, const Stands& stands,
                               Milliseconds now, Placed& placed) {
    const Rules& rules = model.rules(pool);
    if (rules.near_first) ++(is_near(went) ? placed.near : placed.spilled);
    if (rules.slow_start.count() == 0) return;
    unsigned all = 0, ramping = 0, early = 0, late = 0;
    const auto age = [&](unsigned b) { return now - model[b].healthy_since; };
    const auto is_early = [&](unsigned b) { return age(b) <= rules.slow_start / 5; };
    const auto is_late = [&](unsigned b) {
        return age(b) > rules.slow_start && age(b) <= 2 * rules.slow_start;
    };
    for (unsigned b = pool * kPlaces; b < (pool + 1) * kPlaces; ++b) {
        if (!stands[b].takes_new) continue;
        const unsigned weight = model[b].weight;
        all += weight;
        ramping += age(b) <= rules.slow_start ? weight : 0;
        early += is_early(b) ? weight : 0;
        late += is_late(b) ? weight : 0;
    }
    // If most ramp they refuse each other's; if the pool fails open, some are older than their health.
    if (ramping * 4 > all || model.is_below(pool)) return;
    placed.early_by_weight += double(early) / all;
    placed.late_by_weight += double(late) / all;
    placed.early += is_early(went) ? 1 : 0;
    placed.late += is_late(went) ? 1 : 0;
}

}  // namespace weir::test::consistency
