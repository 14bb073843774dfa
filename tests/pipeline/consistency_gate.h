// The gate itself: a monitored world, the model beside it, many live flows, and the judgement of every packet
// by the version of the model that was in force for its worker. In mode nat the backends answer, by any
// worker.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <random>

#include "tests/pipeline/consistency_clients.h"
#include "tests/pipeline/consistency_sessions.h"

namespace weir::test::consistency {

struct Findings {
    std::uint64_t packets = 0, known = 0, fresh = 0, moved_from_dead = 0, cut = 0, refused = 0, ended = 0;
    // Each of these is a promise broken.
    std::uint64_t broken = 0, to_dead = 0, to_dead_acknowledged = 0, new_to_closed = 0, lost = 0,
                  wrong_reset = 0;
    Placed placed;
    Translated translated;
    [[nodiscard]] std::uint64_t wrong() const {
        return broken + to_dead + new_to_closed + lost + wrong_reset + placed.strayed + translated.wrong();
    }
};

class Gate {
  public:
    Gate(const std::array<Rules, kPools>& rules, unsigned workers, std::uint32_t slots, std::uint64_t table,
         std::uint64_t seed, Shape shape = Shape::one_way)
        : random(seed),
          model(rules),
          world(base_config(model, shape), workers, table, is_sticky(rules) ? kClients : 0,
                shape == Shape::nat ? 2 * table : 0),
          shape_(shape),
          flows_(slots),
          clients_(slots),
          snat_(slots),
          outcomes_(slots),
          frames_("consistency", 4095) {
        for (std::uint32_t slot = 0; slot < slots; ++slot) flows_[slot] = {.slot = slot, .shape = shape};
        note();
    }

    // Puts the model in force as the newest generation. After every change, also of the clock.
    void note() { versions_.note(model, world.world().generation(), world.now()); }
    // What an operator's file says now; `shuffled`: in any order.
    [[nodiscard]] Config config(bool shuffled) {
        Config made = base_config(model, shape_);
        for (unsigned pool = 0; pool < kPools; ++pool) {
            std::vector<BackendConfig> backends;
            for (unsigned b = pool * kPlaces; b < (pool + 1) * kPlaces; ++b) {
                const Backend& one = model[b];
                if (!one.registered) continue;
                BackendConfig& entry = backends.emplace_back();
                entry.name = backend_name(b);
                entry.address = address_of(b);
                entry.weight = one.weight;
                entry.drained = one.drained;
                entry.zone = zone_name(is_near(b));
            }
            if (shuffled) std::ranges::shuffle(backends, random);
            made.pools[pool].backends = std::move(backends);
        }
        if (shuffled) std::ranges::shuffle(made.pools, random);
        if (shuffled) std::ranges::shuffle(made.services, random);
        return made;
    }
    void apply(bool shuffled = false, std::span<const BackendKey> cut = {}) {
        world.apply(config(shuffled), cut);
        note();
    }
    // One result; in force with the next flush(). False: nobody probes the backend.
    bool result(unsigned backend, bool success) {
        if (!world.answer(address_of(backend), success)) return false;
        model.result(backend, success, world.now());
        return true;
    }
    void flush() {
        world.flush();
        note();
    }
    // Whether weir still knows the backend, serving or draining.
    [[nodiscard]] bool is_known(unsigned backend) {
        const IdRegistry::Pool* pool = world.world().ids().find_pool(pool_name(pool_of(backend)));
        const IpAddress address = address_of(backend);
        return pool != nullptr && std::ranges::any_of(pool->backends, [&](const IdRegistry::Backend& known) {
                   return known.address == address && known.phase != IdPhase::gone;
               });
    }
    // What time brings is in force when the monitor has ticked, not before.
    void pass(Milliseconds time) {
        const Milliseconds before = world.now();
        world.pass(time);
        world.world().tick();
        versions_.note(model, world.world().generation(), before);
        world.monitor().tick(world.world());
        note();
        std::uint64_t oldest = world.world().generation();
        for (unsigned w = 0; w < world.workers(); ++w)
            oldest = std::min(oldest, world.worker(w).world().generation);
        versions_.forget_before(oldest);
        if (world.world().in_force()) acknowledged_ = versions_.newest();
    }
    // The next `count` flows send a packet each; `ends` says of which this is the last.
    void send(std::uint32_t count, const std::function<bool(const Flow&)>& ends) {
        std::vector<std::vector<std::uint32_t>> slots(world.workers());
        for (std::uint32_t i = 0; i < count; ++i) {
            cursor_ = (cursor_ + 1) % static_cast<std::uint32_t>(flows_.size());
            slots[steer(flows_[cursor_]) % world.workers()].push_back(cursor_);
        }
        for (unsigned w = 0; w < world.workers(); ++w) send_by(w, slots[w], ends);
    }
    [[nodiscard]] const Stand& newest(unsigned backend) const { return versions_.newest()[backend]; }
    [[nodiscard]] const std::vector<Flow>& flows() const { return flows_; }
    [[nodiscard]] std::size_t versions() const { return versions_.size(); }
    [[nodiscard]] unsigned frames_in_use() const { return frames_.in_use(); }

    std::mt19937_64 random;
    Model model;
    MonitoredWorld world;
    Findings findings;
    std::string first_wrong;  // what was found first, in words
    std::function<unsigned(const Flow&)> steer = [](const Flow& flow) {
        return flow.slot / Flow::kKinds + flow.before;
    };

  private:
    // That a worker has room for; many times those that there are.
    static constexpr std::uint64_t kClients = 16'384;
    static bool is_sticky(const std::array<Rules, kPools>& rules) {
        return std::ranges::any_of(rules, [](const Rules& of) { return of.sticks_for.count() != 0; });
    }
    void send_by(unsigned w, const std::vector<std::uint32_t>& slots,
                 const std::function<bool(const Flow&)>& ends) {
        SteppedWorker& worker = world.worker(w);
        std::vector<rte_mbuf*> packets;
        std::vector<bool> last;
        for (const std::uint32_t slot : slots) {
            last.push_back(flows_[slot].begun && ends(flows_[slot]));
            packets.push_back(frames_.frame(flows_[slot].next_frame(last.back())));
        }
        worker.run(packets, world.tick());
        collect();
        if (shape_ == Shape::nat) answer(slots, last);
        for (std::size_t i = 0; i < slots.size(); ++i) {
            Flow& flow = flows_[slots[i]];
            const Outcome outcome = std::exchange(outcomes_[slots[i]], {});
            ++findings.packets;
            const std::uint64_t wrong = findings.wrong();
            const Flow before = flow;
            worker_ = w;
            begins_ = flow.is_udp() || !last[i];
            const bool goes_on = judge(flow, outcome, versions_.at(worker.world().generation));
            if (findings.wrong() != wrong && first_wrong.empty()) describe(w, before, outcome);
            flow.seen = worker.world().generation;
            flow.begun = true;
            if (goes_on && !last[i]) continue;
            ++findings.ended;
            if (flow.home != Flow::kNone) snat_.give_back(flow);
            flow.start_over();
        }
        if (!late_.empty()) send_late();
    }
    // All that is under way comes out.
    void collect() {
        world.empty_rings();
        for (unsigned n = 0; n < world.workers(); ++n) note_frames(world.worker(n).wire());
    }
    void receive(const Bytes& reply) {
        rte_mbuf* packet = frames_.frame(reply);
        world.worker(random() % world.workers()).run({&packet, 1}, world.tick());
    }
    static bool is_sent(const Outcome& outcome) {
        return outcome.frames == 1 && outcome.backend < kBackends && !outcome.reset_to_backend;
    }
    // The backends', to what has just come to them.
    void answer(const std::vector<std::uint32_t>& slots, const std::vector<bool>& last) {
        Translated& found = findings.translated;
        for (std::size_t i = 0; i < slots.size(); ++i)
            if (const Outcome& outcome = outcomes_[slots[i]]; is_sent(outcome)) {
                ++found.replies;
                receive(flows_[slots[i]].answer(outcome.to_backend, last[i]));
            }
        collect();
        for (const std::uint32_t slot : slots) {
            const Outcome& outcome = outcomes_[slot];
            if (!is_sent(outcome)) continue;
            if (outcome.replies != 1)
                ++found.lost_replies;
            else
                found.misdirected += outcome.to_client == turned(flows_[slot].tuple()) ? 0 : 1;
        }
    }
    // What a backend still sends to flows that are not its own any more.
    void send_late() {
        for (const Flow& flow : late_) {
            ++findings.translated.late;
            receive(flow.answer(flow.translated, false));
        }
        collect();
        for (const Flow& flow : late_) {
            Outcome& outcome = outcomes_[flow.slot];
            findings.translated.revived += outcome.replies;
            if (outcome.replies != 0 && first_wrong.empty()) describe(worker_, flow, outcome);
            outcome = {};
        }
        late_.clear();
    }
    void note_frames(TestWire& wire) {
        for (rte_mbuf* packet : wire.taken) {
            note_frame({rte_pktmbuf_mtod(packet, std::uint8_t*), packet->data_len}, shape_, outcomes_);
            rte_pktmbuf_free(packet);
        }
        wire.taken.clear();
    }
    // For whoever has to find out why.
    void describe(unsigned w, const Flow& flow, const Outcome& outcome) {
        const std::uint64_t generation = world.worker(w).world().generation;
        first_wrong = fmt::format("worker {}, generation {} of {}: {} flow, last seen in {}, {} frames out",
                                  w, generation, world.world().generation(), flow.is_udp() ? "udp" : "tcp",
                                  flow.seen, outcome.frames);
        for (const unsigned b : {flow.home, outcome.backend}) {
            if (b >= kBackends) continue;
            const Backend& one = model[b];
            const Stand& stand = versions_.at(generation)[b];
            first_wrong += fmt::format(
                "; backend {}: registered {}, drained {}, weight {}, verdict {}, left {} ms ago, known {}, "
                "lost "
                "{}/{}, takes new {}",
                b, one.registered, one.drained, one.weight, static_cast<int>(one.verdict),
                (world.now() - one.leaves_since).count(), static_cast<int>(stand.known), stand.tcp_lost,
                stand.udp_lost, stand.takes_new);
        }
    }
    // False: the flow has ended.
    bool judge(Flow& flow, const Outcome& outcome, const Stands& stands) {
        if (flow.home == Flow::kNone) return judge_fresh(flow, outcome, stands);
        ++findings.known;
        const Stand& stand = stands[flow.home];
        const bool maybe_lost = (flow.is_udp() ? stand.udp_lost : stand.tcp_lost) >= flow.seen;
        const Known known = stand.known == Known::ends && flow.is_udp() ? Known::moves : stand.known;
        const bool at_home = outcome.frames == 1 && outcome.backend == flow.home && !outcome.reset_to_backend;
        const bool keeps_session = shape_ != Shape::nat || outcome.to_backend == flow.translated;
        switch (known) {
            case Known::stays:
                if (at_home && (keeps_session || renews(flow, outcome, maybe_lost))) return true;
                if (maybe_lost) return judge_fresh(flow, outcome, stands);
                ++(at_home ? findings.translated.rebound : findings.broken);
                flow.home = outcome.backend;
                return outcome.frames == 1;
            case Known::ends:
                return judge_cut(flow, outcome, stands, maybe_lost);
            case Known::moves:
                ++findings.moved_from_dead;
                if (outcome.backend != flow.home) return judge_fresh(flow, outcome, stands);
                ++findings.to_dead;
                findings.to_dead_acknowledged += acknowledged_[flow.home].known == Known::moves ? 1 : 0;
                return true;
            case Known::either:
                break;
        }
        if (is_cut(flow, outcome, maybe_lost)) return false;
        return (at_home && (keeps_session || renews(flow, outcome, true))) ||
               judge_fresh(flow, outcome, stands);
    }
    // While its backend was dead the session was swept, and the flow's entry was not: what was known of the
    // flow leads to the same backend, by a session of its own.
    bool renews(Flow& flow, const Outcome& outcome, bool maybe_lost) {
        if (!maybe_lost || !flow.is_udp()) return false;
        ++findings.translated.renewed;
        leave(flow, true);
        take_tuple(flow, outcome.to_backend);
        return true;
    }
    // A session that was swept while its backend was dead leads no RST there; the client hears of it.
    static bool is_cut(const Flow& flow, const Outcome& outcome, bool maybe_lost) {
        if (flow.needs_session() && maybe_lost && outcome.frames == 1)
            return outcome.reset_to_client && outcome.backend == Flow::kNone;
        return outcome.frames == 2 && outcome.reset_to_client && outcome.reset_to_backend &&
               outcome.backend == flow.home;
    }
    bool judge_cut(Flow& flow, const Outcome& outcome, const Stands& stands, bool maybe_lost) {
        if (is_cut(flow, outcome, maybe_lost)) {
            ++findings.cut;
            return false;
        }
        if (maybe_lost) return judge_fresh(flow, outcome, stands);
        ++findings.wrong_reset;
        return false;
    }
    // A new flow, or one that has to go elsewhere.
    bool judge_fresh(Flow& flow, const Outcome& outcome, const Stands& stands) {
        const unsigned first = flow.pool() * kPlaces;
        const bool any = std::any_of(stands.begin() + first, stands.begin() + first + kPlaces,
                                     [](const Stand& stand) { return stand.takes_new; });
        if (flow.home != Flow::kNone && shape_ == Shape::nat) leave(flow, any);
        flow.home = Flow::kNone;
        if (flow.needs_session()) {
            ++findings.translated.ended;
            findings.translated.revived += outcome.frames;
            return false;
        }
        ++findings.fresh;
        if (outcome.frames == 0) {
            ++(any ? findings.lost : findings.refused);
            judge_placement(flow, Flow::kNone);
            return shape_ != Shape::nat;
        }
        if (outcome.frames != 1 || outcome.reset_to_backend || outcome.reset_to_client) {
            ++findings.wrong_reset;
            return false;
        }
        flow.home = outcome.backend;
        const bool right = pool_of(flow.home) == flow.pool() && stands[flow.home].takes_new;
        findings.new_to_closed += right ? 0 : 1;
        if (shape_ == Shape::nat) take_tuple(flow, outcome.to_backend);
        judge_placement(flow, flow.home);
        return true;
    }
    // A flow that has not sent since its backend was dead may have lost its session, and SNAT port, unseen.
    void take_tuple(Flow& flow, const Tuple& tuple) {
        snat_.take(flow, tuple, findings.translated, [&](std::uint32_t slot) {
            Flow& owner = flows_[slot];
            const Stand& stand = versions_.newest()[owner.home];
            owner.translated = {};
            return (owner.is_udp() ? stand.udp_lost : stand.tcp_lost) >= owner.seen;
        });
        std::erase_if(late_, [&](const Flow& of) { return of.home == flow.home && of.translated == tuple; });
    }
    // Its session has gone with the packet; but where nobody takes it, nobody has looked for one.
    void leave(const Flow& flow, bool is_gone) {
        snat_.give_back(flow);
        if (is_gone && flow.translated != Tuple{}) late_.push_back(flow);
    }
    void judge_placement(const Flow& flow, unsigned went) {
        std::vector<const Stands*>& stands = stands_of_workers_;
        std::uint64_t oldest = world.world().generation();
        const bool is_newest = world.worker(worker_).world().generation == oldest;
        if (went != Flow::kNone && is_newest)
            note_zone_and_ramp(flow.pool(), went, model, versions_.newest(), world.now(), findings.placed);
        if (model.rules(flow.pool()).sticks_for.count() == 0) return;
        stands.clear();
        for (unsigned w = 0; w < world.workers(); ++w) {
            const std::uint64_t generation = world.worker(w).world().generation;
            oldest = std::min(oldest, generation);
            stands.push_back(&versions_.at(generation));
        }
        clients_.judge(flow, went, begins_, model, stands, versions_.newest(), oldest, world.now(),
                       findings.placed);
    }

    Shape shape_;
    Versions versions_;
    Stands acknowledged_{};
    std::vector<Flow> flows_;
    Clients clients_;
    SnatTuples snat_;
    std::vector<Flow> late_;  // as they were before they left
    std::vector<const Stands*> stands_of_workers_;
    unsigned worker_ = 0;            // that judged packet came in by
    bool begins_ = false;            // a flow, if none is known for it
    std::vector<Outcome> outcomes_;  // by slot; of one batch
    FramePool frames_;
    std::uint32_t cursor_ = 0;
};

}  // namespace weir::test::consistency
