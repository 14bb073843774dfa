// select_backend: a known flow goes where it went before; a new one where its pool's Maglev table says.
//
// Exits: burst.selected (backend is set), or the drops no_backend, no_neighbor, too_big, segmented,
// no_headroom and flow_cut.
//
// Theory of operation. A first pass looks every flow up in its first bucket, which classify has prefetched,
// and is done with those that it finds: nearly all. What it misses it puts aside, and has the flow's second
// bucket and its slot of the Maglev table fetched; a second pass looks those up in full and, if they are new,
// selects. SYNs that a crowded table has no room for have a pass of their own, because which of a flood's are
// such cannot be predicted. So no packet waits for memory on its own. A flow's packets are never out of
// order: an entry that the first pass misses for one of them it misses for all of the burst's.
//
// Invariants. A known flow never moves while its backend is in service for the packet's service: the entry's
// backend is honoured if its record belongs to the service's present pool and is not absent. An entry that is
// not honoured is bound to a new choice at once (a dead backend gets not one packet more, UDP included),
// unless its backend's flows are cut (cut.h). A full table changes no verdict: the packet is forwarded by its
// hash and counted.
//
// In a sticky pool the owner of the client chooses (sticky.h): what misses there may leave for that worker's
// ring (burst.handed_over).
#pragma once

#include "dataplane/burst.h"
#include "dataplane/packet.h"
#include "dataplane/stages/cut.h"
#include "dataplane/stages/flow_of.h"
#include "dataplane/stages/nat.h"
#include "dataplane/stages/sticky.h"
#include "dataplane/state/flow_state.h"
#include "dataplane/state/flow_table.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/selection.h"

namespace weir {

// What select_backend works on, for one burst.
struct SelectionContext {
    const ForwardingSnapshot& world;
    FlowTable& flows;
    WorkerCounters& counters;
    OriginatedBuffer& resets;
    Tick now;
    StickyPart& sticky;
    NatPart& nat;
};

// An entry has left a flow table (evicted, expired, rebound): its service and backend have one active flow
// less.
inline void count_flow_end(WorkerCounters& counters, ServiceId service, BackendId backend) noexcept {
    counters.services[index(service)].active_flows.subtract(1);
    counters.backends[index(backend)].active_flows.subtract(1);
}
inline void count_flow_begin(WorkerCounters& counters, ServiceId service, BackendId backend) noexcept {
    counters.services[index(service)].active_flows.add(1);
    counters.backends[index(backend)].active_flows.add(1);
}
namespace detail {

// Null unless packets of the service may go to the backend.
inline const BackendRecord* honoured(const ForwardingSnapshot& world, const ServiceRecord& service,
                                     BackendId id) noexcept {
    const BackendRecord& record = world.view_of(service)[id];
    return record.pool == service.pool ? &record : nullptr;  // an absent backend is of no pool
}

inline void count_new_flow(WorkerCounters& counters, ServiceId service, BackendId backend) noexcept {
    counters.services[index(service)].new_flows.add(1);
    counters.backends[index(backend)].new_flows.add(1);
}

// Mode nat: where the flow's session is, or kNoBackend. A SYN keeps to it at a backend in full service only,
// as it does to an entry of the flow table.
inline BackendId session_backend(const Burst& burst, std::uint32_t i, const SelectionContext& context,
                                 const ServiceRecord& service) noexcept {
    if (!context.nat.is_on()) [[likely]]
        return kNoBackend;
    const BackendId id = context.nat.backend_of(burst, i, context.now);
    const BackendRecord* record = honoured(context.world, service, id);
    if (record == nullptr) return kNoBackend;
    return record->state == TrafficState::serving || burst.event[i] != FlowEvent::syn ? id : kNoBackend;
}

// Where a new flow goes: as it is pinned, else as the pool's table says; or kNoBackend.
inline BackendId choice_for(const Burst& burst, std::uint32_t i, const SelectionContext& context,
                            const ServiceRecord& service, std::uint64_t hash) noexcept {
    if (burst.pinned.has(i) && honoured(context.world, service, burst.pin[i]) != nullptr) return burst.pin[i];
    return choose_backend(*service.table, hash, context.now);
}

// A flow that the table does not know, or whose entry is not honoured (`stale`): the choice of the pool's
// table, or kNoBackend. `hash` is the selection's.
inline BackendId select_new(const Burst& burst, std::uint32_t i, const SelectionContext& context,
                            const ServiceRecord& record, std::uint64_t hash, FlowRef stale) noexcept {
    const ServiceId service = burst.service[i];
    const BackendId translated = session_backend(burst, i, context, record);
    const BackendId chosen =
        translated != kNoBackend ? translated : choice_for(burst, i, context, record, hash);
    if (stale) {
        count_flow_end(context.counters, service, stale.backend());
        context.flows.erase(stale);
    }
    if (chosen == kNoBackend) return chosen;
    const FlowState state = first_flow_state(burst.event[i]);
    if (state == FlowState::none) return chosen;  // a RST or FIN begins nothing
    const bool needs_session = context.world.view_of(record)[chosen].path == RewritePath::nat;
    if (needs_session && state == FlowState::tcp_midflow && translated == kNoBackend)
        return chosen;  // nor does a segment without one: the stage nat drops it

    count_new_flow(context.counters, service, chosen);
    const InsertResult result = context.flows.insert(burst.hash[i], {service, chosen}, state, context.now,
                                                     context.world.timeouts[state]);
    if (result.outcome == InsertOutcome::full) {
        context.counters.flow_full.add(1);
        return chosen;
    }
    context.counters.flow_inserts.add(1);
    if (result.outcome == InsertOutcome::evicted_unconfirmed) context.counters.flow_evictions.add(1);
    if (!result.has_removed()) {
        count_flow_begin(context.counters, service, chosen);
    } else if (result.removed.service == service) {  // that one's gauge stays as it is
        context.counters.backends[index(result.removed.backend)].active_flows.subtract(1);
        context.counters.backends[index(chosen)].active_flows.add(1);
    } else {
        count_flow_end(context.counters, result.removed.service, result.removed.backend);
        count_flow_begin(context.counters, service, chosen);
    }
    return chosen;
}

inline std::uint64_t selection_hash_of(const Burst& burst, std::uint32_t i,
                                       const ForwardingSnapshot& world) noexcept {
    const PoolTable& pool = *world.service_records[index(burst.service[i])].table;
    const std::uint8_t* ip = l3_bytes(burst.packet[i]).data;
    const HashKey& key = world.selection_key;
    if (burst.family[i] == Family::v4) return selection_hash<V4>(key, flow_of<V4>(burst, i, ip).key(), pool);
    return selection_hash<V6>(key, flow_of<V6>(burst, i, ip).key(), pool);
}

// Why a packet cannot go to its backend.
[[gnu::cold]] inline DropReason obstacle(const Burst& burst, std::uint32_t i,
                                         const BackendRecord& backend) noexcept {
    if (!backend.resolved) return DropReason::no_neighbor;
    if (burst.ip_length[i] > backend.max_packet_length) return DropReason::too_big;
    return burst.packet[i]->nb_segs > 1 ? DropReason::segmented : DropReason::no_headroom;
}

// False: there is an obstacle. `length` is the IP packet's.
[[gnu::always_inline]] inline bool is_sendable(const rte_mbuf* packet, std::uint32_t length,
                                               const ForwardingSnapshot& world,
                                               const BackendRecord& record) noexcept {
    return length <= record.max_packet_length &&
           packet->data_off + sizeof(EthernetHeader) >= record.header_length &&
           (packet->nb_segs == 1 || world.ports[index(record.egress)].can_send_chains);
}

// Hands the packet to rewrite, if it can be sent, and counts it for its backend.
[[gnu::always_inline]] inline void send_to(Burst& burst, std::uint32_t i, const SelectionContext& context,
                                           const BackendRecord& record, BackendId id) noexcept {
    const std::uint32_t length = burst.ip_length[i];
    if (!is_sendable(burst.packet[i], length, context.world, record)) [[unlikely]]
        return burst.drop(i, obstacle(burst, i, record));
    burst.backend[i] = &record;
    burst.egress_ports |= 1u << index(record.egress);
    burst.selected_for(record.path, i).push(i);
    if (record.path == RewritePath::nat) [[unlikely]]
        return;  // it may still come to nothing, and counts what it sends
    BackendCounters& counters = context.counters.backends[index(id)];
    counters.packets.add(1);
    counters.bytes.add(length);
}

// A new flow, or one whose entry (`stale`) is not honoured. `hash` is the selection's, or 0: not taken yet.
[[gnu::noinline]] inline void send_new(Burst& burst, std::uint32_t i, const SelectionContext& context,
                                       FlowRef stale, std::uint64_t hash) noexcept {
    if (stale && cut_flow(burst, i, context, stale)) [[unlikely]]
        return;
    const ServiceRecord& service = context.world.service_records[index(burst.service[i])];
    if (hash == 0) [[unlikely]]
        hash = selection_hash_of(burst, i, context.world);
    const BackendId backend = select_new(burst, i, context, service, hash, stale);
    if (backend == kNoBackend) [[unlikely]]
        return burst.drop(i, DropReason::no_backend);
    send_to(burst, i, context, context.world.view_of(service)[backend], backend);
}

// The SYN of a flow that the table does not know and has no room for: where its next packet will go too, if
// the pool does not change.
[[gnu::noinline]] inline void send_unremembered(Burst& burst, std::uint32_t i,
                                                const SelectionContext& context) noexcept {
    const ServiceRecord& service = context.world.service_records[index(burst.service[i])];
    const BackendId translated = session_backend(burst, i, context, service);
    const BackendId backend =
        translated != kNoBackend ? translated : choice_for(burst, i, context, service, burst.selection[i]);
    if (backend == kNoBackend) [[unlikely]]
        return burst.drop(i, DropReason::no_backend);
    count_new_flow(context.counters, burst.service[i], backend);
    context.counters.flow_full.add(1);
    send_to(burst, i, context, context.world.view_of(service)[backend], backend);
}

// What a client's SYN or RST says of the backend of its flow.
inline void count_sign(BackendCounters& counters, FlowState before, FlowEvent event) noexcept {
    const bool opening = before == FlowState::tcp_opening;
    if (event == FlowEvent::syn) {
        if (opening) counters.syn_repeats.add(1);
    } else if (event == FlowEvent::rst && (opening || before == FlowState::tcp_established)) {
        counters.client_resets.add(1);
    }
}

// A SYN or RST of a known flow. A SYN on a flow that had ended counts as a new flow; where the backend is not
// in full service, any SYN does, and chooses anew. One that is forged (RFC 5961 4) can so move a flow of such
// a backend, and none of any other. False, and nothing is done: it begins a new flow, of which its client's
// owner has to know.
[[gnu::noinline]] inline bool send_syn_or_rst(Burst& burst, std::uint32_t i, const SelectionContext& context,
                                              const BackendRecord& record, FlowRef entry) noexcept {
    const FlowState before = entry.state();
    const FlowEvent event = burst.event[i];
    const bool chooses_anew = record.state != TrafficState::serving && may_begin_anew(before, event);
    const PoolTable& pool = *context.world.service_records[index(burst.service[i])].table;
    if (pool.sticky.is_on() && (chooses_anew || reopens_flow(before, event))) return false;
    const BackendId backend = entry.backend();
    count_sign(context.counters.backends[index(backend)], before, event);
    if (chooses_anew) {
        send_new(burst, i, context, entry, 0);
        return true;
    }
    if (reopens_flow(before, event)) count_new_flow(context.counters, burst.service[i], backend);
    const FlowState state = next_flow_state(before, event);
    FlowTable::touch(entry, state, context.now, context.world.timeouts[state]);
    send_to(burst, i, context, record, backend);
    return true;
}

// A packet whose flow has an entry stays where that says. False, and nothing is done, if the entry is not
// honoured, or does not count for a SYN.
[[gnu::always_inline]] inline bool send_known(Burst& burst, std::uint32_t i, const SelectionContext& context,
                                              FlowRef entry) noexcept {
    const BackendId backend = entry.backend();
    const BackendRecord* record =
        honoured(context.world, context.world.service_records[index(burst.service[i])], backend);
    if (record == nullptr) [[unlikely]]
        return false;
    const FlowEvent event = burst.event[i];
    if (is_syn_or_rst(event)) [[unlikely]]
        return send_syn_or_rst(burst, i, context, *record, entry);
    const FlowState state = next_flow_state(entry.state(), event);
    FlowTable::touch(entry, state, context.now, context.world.timeouts[state]);
    send_to(burst, i, context, *record, backend);
    return true;
}

// True: the packet waits to be handed over to its client's owner, or has ended its flow (`stale`).
inline bool asks_owner(Burst& burst, std::uint32_t i, const SelectionContext& context,
                       FlowRef stale) noexcept {
    if (!context.world.has_sticky_pools) [[likely]]
        return false;
    const PoolTable& pool = *context.world.service_records[index(burst.service[i])].table;
    if (!pool.sticky.is_on() || burst.pinned.has(i)) return false;
    if (stale && cut_flow(burst, i, context, stale)) return true;
    return context.sticky.ask(burst, i, context.world, context.now);
}

// What cannot be handed over goes by hash.
[[gnu::noinline]] inline void ask_owners(Burst& burst, const SelectionContext& context) noexcept {
    context.sticky.hand_over(burst);
    burst.asked.for_each([&](std::uint32_t i) {
        if (burst.handed_over.has(i)) return;
        burst.pin_to(i, kNoBackend);
        const FlowRef entry = context.flows.find(burst.hash[i], burst.service[i], context.now);
        if (!entry || !send_known(burst, i, context, entry))
            send_new(burst, i, context, entry, burst.selection[i]);
    });
}

// Packets of one service that follow each other are counted at once.
inline void count_for_services(const Burst& burst, WorkerCounters& counters) noexcept {
    if (burst.flows.empty()) return;
    ServiceId service = burst.service[burst.flows[0]];
    std::uint32_t packets = 0, bytes = 0;
    const auto count = [&] {
        counters.services[index(service)].packets.add(packets);
        counters.services[index(service)].bytes.add(bytes);
    };
    for (const std::uint32_t i : burst.flows) {
        if (burst.service[i] != service) {
            count();
            service = burst.service[i];
            packets = bytes = 0;
        }
        packets += 1;
        bytes += burst.ip_length[i];
    }
    count();
}

// Puts a packet aside whose flow is not in its first bucket.
[[gnu::noinline]] inline void put_aside(Burst& burst, std::uint32_t i,
                                        const SelectionContext& context) noexcept {
    const bool no_room =
        burst.event[i] == FlowEvent::syn && context.flows.turns_away(*burst.bucket[i], context.now);
    burst.missed.push_if(!no_room, i);
    burst.turned_away.push_if(no_room, i);
    burst.selection[i] = 0;
    const bool may_be_known = context.flows.prefetch_second(burst.hash[i]);
    if (burst.event[i] != FlowEvent::syn && may_be_known) return;
    const PoolTable& pool = *context.world.service_records[index(burst.service[i])].table;
    burst.selection[i] = selection_hash_of(burst, i, context.world);
    pool.maglev.prefetch_slot(burst.selection[i]);
}

}  // namespace detail

inline void select_backend(Burst& burst, const SelectionContext& context) noexcept {
    if (!burst.came_by_ring) [[likely]]
        detail::count_for_services(burst, context.counters);
    const SelectionContext fixed = context;  // nothing that is stored below can change it
    for (const std::uint32_t i : burst.flows) {
        const FlowRef entry =
            FlowTable::find_in(*burst.bucket[i], burst.hash[i], burst.service[i], fixed.now);
        if (!entry || !detail::send_known(burst, i, fixed, entry)) [[unlikely]]
            detail::put_aside(burst, i, context);
    }
    for (const std::uint32_t i : burst.missed) {
        const FlowRef entry = context.flows.find(burst.hash[i], burst.service[i], context.now);
        if (entry && detail::send_known(burst, i, context, entry)) continue;
        if (!detail::asks_owner(burst, i, context, entry))
            detail::send_new(burst, i, context, entry, burst.selection[i]);
    }
    for (const std::uint32_t i : burst.turned_away) {
        const FlowRef entry = context.flows.find(burst.hash[i], burst.service[i], context.now);
        if (entry && detail::send_known(burst, i, context, entry)) [[unlikely]]
            continue;
        if (detail::asks_owner(burst, i, context, entry)) continue;
        if (!entry) [[likely]]
            detail::send_unremembered(burst, i, context);
        else
            detail::send_new(burst, i, context, entry, burst.selection[i]);
    }
    if (!burst.asked.empty()) [[unlikely]]
        detail::ask_owners(burst, context);
}

}  // namespace weir
