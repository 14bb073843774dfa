#include "dataplane/pipeline.h"

#include <cassert>

#include "dataplane/stages/answer.h"
#include "dataplane/stages/classify.h"
#include "dataplane/stages/drop.h"
#include "dataplane/stages/parse.h"
#include "dataplane/stages/rewrite.h"
#include "dataplane/stages/select_backend.h"

namespace weir {

void Pipeline::run(Burst& burst, const ForwardingSnapshot& world, Tick now) noexcept {
    const SelectionContext context{world, flows_, counters_, now};
    counters_.received.add(burst.size);

    parse(burst, world.ports[index(burst.port)]);
    classify<V4>(burst, burst.v4, burst.flows_v4, world, flow_hash_key_, flows_);
    classify<V6>(burst, burst.v6, burst.flows_v6, world, flow_hash_key_, flows_);
    select_backend<V4>(burst, burst.flows_v4, burst.selected_v4, context);
    select_backend<V6>(burst, burst.flows_v6, burst.selected_v6, context);
    rewrite<V4>(burst, burst.selected_v4, world);
    rewrite<V6>(burst, burst.selected_v6, world);
    count_backends(burst, burst.selected_v4, counters_);
    count_backends(burst, burst.selected_v6, counters_);
    answer(burst, world);
    transmit(burst, tx_);
    drop(burst, counters_);

    counters_.flow_entries.set(flows_.entries());
}

void Pipeline::sweep(const ForwardingSnapshot& world, Tick now, std::uint32_t buckets) noexcept {
    const auto is_gone = [&world](FlowOwner owner) noexcept {
        if (index(owner.service) >= world.service_records.size()) return true;
        const ServiceRecord& service = world.service_records[index(owner.service)];
        const BackendView& view = world.backends[static_cast<std::size_t>(service.mode)];
        return service.table == nullptr || detail::honoured(view, service, owner.backend) == nullptr;
    };
    const auto on_removed = [this](FlowOwner owner) noexcept {
        count_flow_end(counters_, owner.service, owner.backend);
    };
    counters_.flow_sweeps.set(flows_.sweep(buckets, now, is_gone, on_removed));
    counters_.flow_entries.set(flows_.entries());
}

}  // namespace weir
