// Client prefix -> backend, for the pools with stickiness: one worker's share of the clients.
//
// Theory of operation. A FlowTable whose "flows" are clients: an entry is known by {hash over pool and
// prefix, pool}, and its deadline is the pool's duration after the client's last new flow. What FlowTable
// does against floods holds here too: a client is *confirmed* by its second flow, and clients of one flow
// make room first. So senders of single packets from invented addresses push none of those out that come
// again.
//
// An entry says where a client's new flows go, as long as that backend may get new ones; else the caller's
// choice takes its place. Known flows need no entry.
//
// The lower 16 bits of the pool's id stand in the entry. Should two pools agree in them and in 64 bits of
// hash, the entry is that of another pool's backend, which no caller lets pass.
//
// One thread: the worker that owns it. No allocation; the memory is the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/ids.h"
#include "dataplane/state/flow_table.h"

namespace weir {

struct StickyClient {
    std::uint64_t hash;  // client_hash()
    PoolId pool;
};

class StickyTable {
  public:
    [[nodiscard]] static constexpr std::size_t bytes_for(std::uint64_t clients) noexcept {
        return FlowTable::bytes_for(clients);
    }

    // `memory`: FlowTable's terms.
    explicit StickyTable(std::span<std::byte> memory) noexcept : clients_(memory) {}

    enum class Outcome : std::uint8_t {
        kept,      // the entry's backend
        rebound,   // the entry has a new backend
        inserted,  // a new entry
        evicted,   // a new entry in the place of a live one of another client
        full,      // no entry
        nowhere,   // there was no choice; nothing is stored
    };
    struct Decision {
        BackendId backend;
        Outcome outcome;
    };

    // A new flow of the client: the backend of its entry if `may_serve(BackendId)`, else choose(), which is
    // then stored. The duration begins anew. Precondition: duration at most kMaxTimeoutTicks.
    template <class MayServe, class Choose>
    Decision decide(const StickyClient& client, Tick now, TickCount duration, MayServe&& may_serve,
                    Choose&& choose) noexcept {
        const FlowRef entry = clients_.find(client.hash, key_of(client.pool), now);
        if (entry && may_serve(entry.backend())) {
            FlowTable::renew(entry, kAgain, now + duration);
            return {entry.backend(), Outcome::kept};
        }
        const BackendId chosen = choose();
        if (chosen == kNoBackend) return {chosen, Outcome::nowhere};
        if (entry) {
            clients_.rebind(entry, chosen);
            FlowTable::renew(entry, kAgain, now + duration);
            return {chosen, Outcome::rebound};
        }
        const InsertResult result =
            clients_.insert(client.hash, {key_of(client.pool), chosen}, kOnce, now, duration);
        switch (result.outcome) {
            case InsertOutcome::full:
                return {chosen, Outcome::full};
            case InsertOutcome::evicted_unconfirmed:
                return {chosen, Outcome::evicted};
            default:
                return {chosen, Outcome::inserted};
        }
    }

    // Of a packet that begins no flow: the entry's backend, or kNoBackend. Nothing changes.
    [[nodiscard]] BackendId find(const StickyClient& client, Tick now) const noexcept {
        const FlowRef entry = clients_.find(client.hash, key_of(client.pool), now);
        return entry ? entry.backend() : kNoBackend;
    }

    // As FlowTable::sweep(); an entry's owner has the pool's lower 16 bits in the place of a service.
    template <class IsGone>
    std::uint64_t sweep(std::uint64_t buckets, Tick now, IsGone&& is_gone) noexcept {
        return clients_.sweep(buckets, now, is_gone, [](FlowOwner) noexcept {});
    }
    [[nodiscard]] std::uint32_t left_of_sweep() const noexcept { return clients_.left_of_sweep(); }

    [[nodiscard]] std::uint64_t entries() const noexcept { return clients_.entries(); }
    [[nodiscard]] std::uint64_t capacity() const noexcept { return clients_.capacity(); }
    [[nodiscard]] std::uint32_t buckets() const noexcept { return clients_.buckets(); }

  private:
    // Two states of a flow that FlowTable treats as wanted: unconfirmed, but not turned away unseen as SYNs
    // are; and confirmed.
    static constexpr FlowState kOnce = FlowState::udp_first, kAgain = FlowState::udp;

    static ServiceId key_of(PoolId pool) noexcept {
        return ServiceId{static_cast<std::uint16_t>(index(pool))};
    }
    FlowTable clients_;
};

}  // namespace weir
