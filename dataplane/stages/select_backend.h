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
