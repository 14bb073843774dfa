// What weir promises of flows while backends come, go, drain and die: DESIGN.md sections 3, 7 and 9 as a
// model, which the gate (consistency_gate_test.cc) judges every packet by. Shares no code with weir.
//
// A backend is named by its number: pool times 64, and its place there. A place has one name and one address;
// the places k and k + 32 share the name, so that a machine can be replaced under its name.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace weir::test::consistency {

inline constexpr unsigned kPools = 8, kPlaces = 64, kNames = 32, kBackends = kPools * kPlaces;
constexpr unsigned pool_of(unsigned backend) { return backend / kPlaces; }
// Whether it stands in weir's own zone. The two places of a name agree.
constexpr bool is_near(unsigned backend) { return backend % 2 == 0; }

using Milliseconds = std::chrono::milliseconds;

// What a pool's settings say.
struct Rules {
    enum class OfDead { rehash, keep, reset } of_dead = OfDead::rehash;
    enum class Below { fail_open, drop, withdraw } below = Below::fail_open;
    unsigned healthy_threshold = 1, unhealthy_threshold = 1;
    unsigned least_count = 1, least_percentage = 0;
    Milliseconds drain{300'000};
    bool cuts_at_the_end = false;  // of a drain
    Milliseconds keeps_for{0};     // flows of a dead one, with `keep`; 0: for ever
    Milliseconds sticks_for{0};    // a client to its backend, after its last new flow; 0: clients are nothing
    bool near_first = false;       // new flows go to weir's own zone, unless that has too few
    Milliseconds slow_start{0};
};

struct Backend {
    bool registered = false;
    bool drained = false;  // by the operator
    bool removed_now = false;
    unsigned weight = 1;
    enum class Verdict { none, healthy, unhealthy } verdict = Verdict::none;
    unsigned in_a_row = 0;  // results of the kind that the last one was
    bool last_success = false;
    Milliseconds leaves_since{0}, dead_since{0}, healthy_since{0};
    unsigned lives = 0;  // how often it was added as one that nobody knew any more
};

// What a packet of a known flow may meet.
enum class Known : std::uint8_t {
    stays,   // at its backend
    ends,    // TCP: by a RST to either side; UDP: moves
    moves,   // anywhere where new flows may go, but not to its backend
    either,  // any of these: nobody has promised anything
};
struct Stand {
    bool takes_new = false;
    Known known = Known::moves;
    // The newest version of the world in which flows of it could be forgotten.
    std::uint64_t tcp_lost = 0, udp_lost = 0;
};
using Stands = std::array<Stand, kBackends>;

class Model {
  public:
    explicit Model(const std::array<Rules, kPools>& rules) : rules_(rules) {}
    [[nodiscard]] Backend& operator[](unsigned backend) { return backends_[backend]; }
    [[nodiscard]] const Backend& operator[](unsigned backend) const { return backends_[backend]; }
    [[nodiscard]] const Rules& rules(unsigned pool) const { return rules_[pool]; }

    // One that is not `known` any more starts without a verdict.
    void add(unsigned backend, bool known) {
        Backend& one = backends_[backend];
        if (!known) one = Backend{.lives = one.lives + 1};
        one.registered = true;
        one.drained = one.removed_now = false;
        one.weight = 1;
    }
    void remove(unsigned backend, Milliseconds now) {
        Backend& one = backends_[backend];
        // A drain that is over stays over.
        const bool is_over = one.drained && now >= one.leaves_since + rules_[pool_of(backend)].drain;
        if (!is_over) one.leaves_since = now;
        one.registered = false;
    }
    // With --now: whatever has the name.
    void remove_now(unsigned backend) {
        for (const unsigned b : {backend, backend ^ kNames}) {
            backends_[b].registered = false;
            backends_[b].removed_now = true;
        }
    }
    void drain(unsigned backend, Milliseconds now) {
        backends_[backend].drained = true;
        backends_[backend].leaves_since = now;
    }
    void enable(unsigned backend) { backends_[backend].drained = false; }
    // A probe's result: the first success makes healthy, as many of a kind in a row as the thresholds say
    // change a verdict.
    void result(unsigned backend, bool success, Milliseconds now) {
        using enum Backend::Verdict;
        Backend& one = backends_[backend];
        const Rules& rules = rules_[pool_of(backend)];
        one.in_a_row = success == one.last_success ? one.in_a_row + 1 : 1;
        one.last_success = success;
        if (success) {
            if (one.verdict == healthy || (one.verdict != none && one.in_a_row < rules.healthy_threshold))
                return;
            one.verdict = healthy;
            one.healthy_since = now;
        } else if (one.in_a_row >= rules.unhealthy_threshold) {
            if (one.verdict != unhealthy) one.dead_since = now;
            one.verdict = unhealthy;
        }
    }

    [[nodiscard]] bool fails_open(unsigned pool) const {
        return is_below(pool) && rules_[pool].below == Rules::Below::fail_open;
    }
    [[nodiscard]] bool is_below(unsigned pool) const {
        const Counts all = count(pool, false);
        return all.counted != 0 && !all.is_enough && !stays_near(pool);
    }
    // New flows go to weir's own zone only.
    [[nodiscard]] bool stays_near(unsigned pool) const {
        return rules_[pool].near_first && count(pool, true).is_enough;
    }

    // The world as it is now, put in force as `version`, after `before`.
    [[nodiscard]] Stands stands(const Stands& before, std::uint64_t version, Milliseconds now) const {
        Stands all;
        for (unsigned pool = 0; pool < kPools; ++pool) {
            const bool below = is_below(pool), near_only = stays_near(pool);
            for (unsigned b = pool * kPlaces; b < (pool + 1) * kPlaces; ++b) {
                Stand& one = all[b];
                one = before[b];
                one.takes_new = takes_new(backends_[b], rules_[pool], below) && (!near_only || is_near(b));
                one.known = known(backends_[b], rules_[pool], fails_open(pool), now);
                if (one.known == Known::moves || one.known == Known::either) one.tcp_lost = version;
                if (one.known != Known::stays) one.udp_lost = version;
            }
        }
        return all;
    }

  private:
    struct Counts {
        unsigned counted = 0, healthy = 0;
        bool is_enough = false;
    };
    [[nodiscard]] Counts count(unsigned pool, bool near_only) const {
        Counts all;
        for (unsigned b = pool * kPlaces; b < (pool + 1) * kPlaces; ++b) {
            const Backend& one = backends_[b];
            if (!one.registered || one.drained || one.weight == 0 || (near_only && !is_near(b))) continue;
            ++all.counted;
            all.healthy += one.verdict == Backend::Verdict::healthy ? 1 : 0;
        }
        const Rules& rules = rules_[pool];
        all.is_enough =
            all.healthy >= rules.least_count && all.healthy * 100 >= rules.least_percentage * all.counted;
        return all;
    }
    static bool takes_new(const Backend& one, const Rules& rules, bool below) {
        if (!one.registered || one.drained || one.weight == 0) return false;
        if (below && rules.below == Rules::Below::drop) return false;
        if (below && rules.below == Rules::Below::fail_open) return true;
        return one.verdict == Backend::Verdict::healthy;
    }
    static Known known(const Backend& one, const Rules& rules, bool fails_open, Milliseconds now) {
        const bool leaves = !one.registered || one.drained;
        if (one.removed_now) return Known::moves;
        if (leaves && rules.cuts_at_the_end && now >= one.leaves_since + rules.drain) return Known::ends;
        if (one.verdict != Backend::Verdict::unhealthy) return Known::stays;
        if (fails_open) return leaves || one.weight == 0 ? Known::either : Known::stays;
        switch (rules.of_dead) {
            case Rules::OfDead::rehash:
                return Known::moves;
            case Rules::OfDead::reset:
                return Known::ends;
            case Rules::OfDead::keep:
                break;
        }
        const bool over = rules.keeps_for.count() != 0 && now >= one.dead_since + rules.keeps_for;
        return over ? Known::ends : Known::stays;
    }

    std::array<Rules, kPools> rules_;
    std::array<Backend, kBackends> backends_;
};

// What was in force with each generation that a worker may still use.
class Versions {
  public:
    void note(const Model& model, std::uint64_t generation, Milliseconds now) {
        static constexpr Stands kNothing{};
        const Stands& before = all_.empty() ? kNothing : *all_.rbegin()->second;
        all_[generation] = std::make_unique<Stands>(model.stands(before, generation, now));
    }
    [[nodiscard]] const Stands& at(std::uint64_t generation) const {
        return *std::prev(all_.upper_bound(generation))->second;
    }
    [[nodiscard]] const Stands& newest() const { return *all_.rbegin()->second; }
    void forget_before(std::uint64_t generation) {
        all_.erase(all_.begin(), std::prev(all_.upper_bound(generation)));
    }
    [[nodiscard]] std::size_t size() const { return all_.size(); }

  private:
    std::map<std::uint64_t, std::unique_ptr<Stands>> all_;
};

}  // namespace weir::test::consistency
