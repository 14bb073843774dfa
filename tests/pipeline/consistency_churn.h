// What befalls the pools of the consistency gate: changes by the operator, and results of probes, at random.
#pragma once

#include "tests/pipeline/consistency_gate.h"

namespace weir::test::consistency {

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
inline constexpr std::array<const char*, 13> kChangeNames = {
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

}  // namespace weir::test::consistency
