// sticky: the packets of sticky pools that the flow table does not know, to the worker that owns their
// client, which decides where the client's new flows go; and back with the choice.
//
// Exits: burst.pinned (this worker owns the client), or burst.handed_over (the packet is in the owner's
// ring). What the ring has no room for goes by the hash of the prefix, as if the client were new, and is
// counted.
//
// Theory of operation. The choice for a client that nobody has seen is Maglev's over its prefix, a pure
// function of the snapshot; so only memory needs an owner, and all of a client's flows ask the same one.
// Where a packet comes in decides nothing. On the way back the packet goes through the whole pipeline of its
// first worker again, pinned to the choice: if its flow has an entry by then, from a packet before it, that
// counts. Packets that begin no flow (FIN, RST) travel as well, behind those that did, and leave nothing in
// the owner's table.
//
// A worker that cannot return a packet, because the origin's ring is full or closed, forwards it itself as if
// it had come in here: the flow's next packet asks again, and gets the same answer.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/burst.h"
#include "dataplane/state/sticky_table.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/forwarding_snapshot.h"
#include "dataplane/worker_rings.h"

namespace weir {

// What a worker needs to take part.
struct StickySpec {
    std::span<std::byte> memory{};  // StickyTable::bytes_for(clients), zeroed; empty: it remembers nobody
    HashKey key = HashKey::zero();  // the same for all workers; random unless results must repeat
    std::uint32_t worker = 0;       // which this one is
    WorkerRings* rings = nullptr;   // null: it is the only one
};

// One worker's part: its clients, and the way to the others.
class StickyPart {
  public:
    StickyPart(const StickySpec& spec, WorkerCounters& counters) noexcept;

    // Of a packet of a sticky pool's service, at position i. True: another worker decides, burst.asked has
    // it. False: it is pinned, or nobody remembers clients.
    bool ask(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, Tick now) noexcept;
    // Hands over what is in burst.asked. What is not in burst.handed_over then is to go by hash.
    void hand_over(Burst& burst) noexcept;
    // Packets from this worker's ring: decides those that ask, and returns them. How many stay here, at the
    // front: those that have come back, and those that could not be returned.
    std::uint32_t answer(std::span<rte_mbuf*> packets, const ForwardingSnapshot& world, Tick now) noexcept;

    [[nodiscard]] std::optional<StickyTable>& table() noexcept { return table_; }
    [[nodiscard]] const std::optional<StickyTable>& table() const noexcept { return table_; }

  private:
    // A packet's source under its pool's mask.
    struct Asking {
        const rte_mbuf* packet;
        const ServiceRecord& service;
        bool begins_flow;
    };
    [[nodiscard]] std::uint64_t client_of(const rte_mbuf* packet, const PoolTable& pool) const noexcept;
    BackendId decide(const Asking& asking, std::uint64_t client, const ForwardingSnapshot& world,
                     Tick now) noexcept;
    void decide_handed(rte_mbuf* packet, HandOver note, const ForwardingSnapshot& world, Tick now) noexcept;

    std::optional<StickyTable> table_;
    HashKey key_;
    std::uint32_t worker_, workers_;
    WorkerRings* rings_;
    WorkerCounters& counters_;
};

// Calls run(Burst&) for packets that StickyPart::answer() has left, port by port and in order, each pinned to
// its choice: one for a client, if that may still get new flows.
template <class Run>
void for_returned(std::span<rte_mbuf*> packets, const ForwardingSnapshot& world, Run&& run) noexcept {
    for (std::size_t at = 0; at < packets.size();) {
        Burst burst(static_cast<PortId>(packets[at]->port));
        burst.came_by_ring = true;
        burst.is_bound = HandOver::of(packets[at]).kind == HandOverKind::session;
        for (; at < packets.size() && burst.size < kBurstSize && packets[at]->port == index(burst.port);
             ++at) {
            const HandOver note = HandOver::of(packets[at]);
            if ((note.kind == HandOverKind::session) != burst.is_bound) break;
            const bool is_known = index(note.service) < world.service_records.size();
            const ServiceRecord service =
                is_known ? world.service_records[index(note.service)] : ServiceRecord{};
            const bool may_serve =
                burst.is_bound || world.view_of(service)[note.backend].state ==
                                      TrafficState::serving;  // of the pool: select_backend
            burst.pin_to(burst.size, may_serve ? note.backend : kNoBackend);
            burst.packet[burst.size++] = packets[at];
        }
        run(burst);
    }
}

}  // namespace weir
