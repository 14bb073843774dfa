// select_backend: a known flow goes where it went before; a new one where its pool's Maglev table says.
//
// Exits: burst.selected_v4 and burst.selected_v6 (backend and backend_id are set), or the drop `no_backend`.
//
// Invariants. A known flow never moves while its backend is in service for the packet's service: the entry's
// backend is honoured if its record belongs to the service's present pool and is not absent. An entry that is
// not honoured is bound to a new choice at once (a dead backend gets not one packet more, UDP included). A
// full table changes no verdict: the packet is forwarded by its hash and counted.
#pragma once

#include "dataplane/burst.h"
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
    Tick now;
};

// An entry has left a flow table (evicted, expired, rebound): its service and backend have one active flow
// less.
inline void count_flow_end(WorkerCounters& counters, ServiceId service, BackendId backend) noexcept {
    counters.services.at(index(service)).active_flows.subtract(1);
    counters.backends.at(index(backend)).active_flows.subtract(1);
}
inline void count_flow_begin(WorkerCounters& counters, ServiceId service, BackendId backend) noexcept {
    counters.services.at(index(service)).active_flows.add(1);
    counters.backends.at(index(backend)).active_flows.add(1);
}
namespace detail {

// Null unless packets of the service may go to the backend.
inline const BackendRecord* honoured(const BackendView& view, const ServiceRecord& service,
                                     BackendId id) noexcept {
    if (index(id) >= view.size()) return nullptr;
    const BackendRecord& record = view[id];
    return record.pool == service.pool && record.state != TrafficState::absent ? &record : nullptr;
}

inline FlowEvent event_of(const Burst& burst, std::uint32_t i, IpProtocol protocol) noexcept {
    return protocol == IpProtocol::tcp ? flow_event_of_tcp(burst.tcp_flags[i]) : FlowEvent::datagram;
}

inline void count_new_flow(WorkerCounters& counters, ServiceId service, BackendId backend) noexcept {
    counters.services.at(index(service)).new_flows.add(1);
    counters.backends.at(index(backend)).new_flows.add(1);
}

// A flow that the table does not know, or whose entry is not honoured (`stale`): the choice of the pool's
// table, or kNoBackend.
template <class Family>
BackendId select_new(Burst& burst, std::uint32_t i, SelectionContext& context, const ServiceRecord& service,
                     FlowRef stale) noexcept {
    const auto& key = burst.key_of<Family>(i);
    const ServiceId service_id = burst.service[i];
    const BackendId chosen = choose_backend<Family>(context.world, *service.table, key);
    if (stale) {
        count_flow_end(context.counters, service_id, stale.backend());
        context.flows.erase(stale);
    }
    if (chosen == kNoBackend) return chosen;
    const FlowState state = first_flow_state(event_of(burst, i, key.protocol));
    if (state == FlowState::none) return chosen;  // a RST or FIN begins nothing

    count_new_flow(context.counters, service_id, chosen);
    const InsertResult result = context.flows.insert(burst.hash[i], {service_id, chosen}, state, context.now,
                                                     flow_timeout(state, context.world.timeouts));
    if (result.has_removed()) {
        count_flow_end(context.counters, result.removed.service, result.removed.backend);
        if (result.outcome == InsertOutcome::evicted_unconfirmed) context.counters.flow_evictions.add(1);
    }
    if (result.outcome == InsertOutcome::full) {
        context.counters.flow_full.add(1);
    } else {
        context.counters.flow_inserts.add(1);
        count_flow_begin(context.counters, service_id, chosen);
    }
    return chosen;
}

// A flow whose entry is honoured: stays where it is. Only a SYN on a flow that had ended counts as a new one,
// and goes elsewhere if its backend gets no new flows any more.
template <class Family>
BackendId select_known(Burst& burst, std::uint32_t i, SelectionContext& context, const ServiceRecord& service,
                       const BackendRecord& record, FlowRef entry) noexcept {
    const FlowEvent event = event_of(burst, i, burst.key_of<Family>(i).protocol);
    if (reopens_flow(entry.state(), event)) [[unlikely]] {
        if (record.state == TrafficState::draining)
            return select_new<Family>(burst, i, context, service, entry);
        count_new_flow(context.counters, burst.service[i], entry.backend());
    }
    const FlowState state = next_flow_state(entry.state(), event);
    context.flows.touch(entry, state, context.now, flow_timeout(state, context.world.timeouts));
    return entry.backend();
}

}  // namespace detail

template <class Family>
void select_backend(Burst& burst, const IndexList& flows, IndexList& selected,
                    SelectionContext context) noexcept {
    for (const std::uint32_t i : flows) {
        const ServiceId service_id = burst.service[i];
        const ServiceRecord& service = context.world.service_records[index(service_id)];
        const BackendView& view = context.world.backends[static_cast<std::size_t>(service.mode)];
        ServiceCounters& service_counters = context.counters.services.at(index(service_id));
        service_counters.packets.add(1);
        service_counters.bytes.add(burst.ip_length[i]);

        const FlowRef entry = context.flows.find(burst.hash[i], service_id, context.now);
        const BackendRecord* record = entry ? detail::honoured(view, service, entry.backend()) : nullptr;
        const BackendId backend =
            record != nullptr ? detail::select_known<Family>(burst, i, context, service, *record, entry)
                              : detail::select_new<Family>(burst, i, context, service, entry);
        if (backend == kNoBackend) [[unlikely]] {
            burst.drop(i, DropReason::no_backend);
            continue;
        }
        burst.backend_id[i] = backend;
        burst.backend[i] = &view[backend];
        __builtin_prefetch(burst.backend[i]);
        selected.push(i);
    }
}

// Packets and bytes of the backends that the burst's forwarded packets go to. After rewrite: what it dropped
// does not count.
inline void count_backends(const Burst& burst, const IndexList& selected, WorkerCounters& counters) noexcept {
    for (const std::uint32_t i : selected) {
        if (burst.verdict[i] != Verdict::forward) continue;
        BackendCounters& backend = counters.backends.at(index(burst.backend_id[i]));
        backend.packets.add(1);
        backend.bytes.add(burst.ip_length[i]);
    }
}

}  // namespace weir
