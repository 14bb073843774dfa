#include "dataplane/pipeline.h"

#include <algorithm>

#include "dataplane/net/prefetch.h"
#include "dataplane/stages/answer.h"
#include "dataplane/stages/classify.h"
#include "dataplane/stages/drop.h"
#include "dataplane/stages/parse.h"
#include "dataplane/stages/plain.h"
#include "dataplane/stages/rewrite.h"
#include "dataplane/stages/select_backend.h"

namespace weir {

namespace {

[[gnu::noinline]] void parse_and_classify(Burst& burst, std::uint32_t i, const PortRecord& port,
                                          const ClassifyContext& context) noexcept {
    const Parsed parsed = parse(burst, i, port);
    if (parsed == Parsed::ipv4)
        classify<V4>(burst, i, context);
    else if (parsed == Parsed::ipv6)
        classify<V6>(burst, i, context);
}

// Buckets are fetched for so many packets at a time (docs/PERFORMANCE.md): between the checks of single
// packets the fetches stall, and after the whole burst they come late.
constexpr std::uint32_t kGroup = 32;

void parse_and_classify(Burst& burst, const ClassifyContext& context) noexcept {
    const PortRecord& port = context.world.ports[index(burst.port)];
    const PlainContext plain(port, context);
    for (std::uint32_t i = 0, prefetched = 0; i < burst.size;) {
        const std::uint32_t end = std::min(i + kGroup, burst.size);
        // Runs of one family, each in a loop of its own.
        while (i < end) {
            const std::uint32_t first = i;
            while (i < end && plain.take<V4>(burst, i)) ++i;
            while (i < end && plain.take<V6>(burst, i)) ++i;
            if (i == first) parse_and_classify(burst, i++, port, context);
        }
        for (; prefetched < burst.flows.size(); ++prefetched) prefetch(burst.bucket[burst.flows[prefetched]]);
    }
}

// No packet is of that service and backend any more.
bool owns_nothing(const ForwardingSnapshot& world, FlowOwner owner) noexcept {
    if (index(owner.service) >= world.service_records.size()) return true;
    const ServiceRecord& service = world.service_records[index(owner.service)];
    if (service.table == nullptr) return true;
    const BackendRecord& backend = world.view_of(service)[owner.backend];
    return backend.pool != service.pool && backend.cut_pool != service.pool;
}

}  // namespace

void Pipeline::run(Burst& burst, const ForwardingSnapshot& world, Tick now) noexcept {
    if (!burst.came_by_ring) [[likely]]
        counters_.received.add(burst.size);

    parse_and_classify(burst, {world, flow_hash_key_, flows_});
    if (!burst.is_bound) [[likely]]
        select_backend(burst, {world, flows_, counters_, originated_, now, sticky_, nat_});
    else
        nat_.select_bound(burst, {world, originated_, now});
    rewrite(burst, world);
    if (NatPart::has_any(burst)) [[unlikely]]
        nat_.translate(burst, {world, originated_, now});
    if (!burst.local.empty()) answer(burst, world);
    if (!burst.for_host.empty()) punt(burst, {punt_, punted_, counters_, now});
    transmit(burst, tx_);
    drop(burst, counters_);

    counters_.flow_entries.set(flows_.entries());
}

// Of the table that is being swept.
std::uint32_t Pipeline::left_of_table() const noexcept {
    switch (sweeping_) {
        case Sweeping::clients:
            return sticky_.table()->left_of_sweep();
        case Sweeping::sessions:
            return nat_.sessions().left_of_sweep();
        case Sweeping::flows:
            break;
    }
    return flows_.left_of_sweep();
}

void Pipeline::sweep_table(const ForwardingSnapshot& world, Tick now, std::uint32_t buckets) noexcept {
    const auto is_gone = [&world](FlowOwner owner) noexcept { return owns_nothing(world, owner); };
    const auto on_removed = [this](FlowOwner owner) noexcept {
        count_flow_end(counters_, owner.service, owner.backend);
    };
    const bool looks_for_gone = sweeps_ < looks_for_gone_until_;
    if (sweeping_ == Sweeping::clients)
        sweep_clients(world, now, buckets);
    else if (sweeping_ == Sweeping::sessions)
        nat_.sweep(world, now, buckets, looks_for_gone);
    else if (looks_for_gone)
        flows_.sweep(buckets, now, is_gone, on_removed);
    else
        flows_.sweep(buckets, now, NobodyIsGone{}, on_removed);
}

void Pipeline::next_table() noexcept {
    const bool has_clients = sticky_.table() && sticky_.table()->entries() != 0;
    const bool has_sessions = nat_.sessions().entries() != 0;
    if (sweeping_ == Sweeping::flows && has_clients)
        sweeping_ = Sweeping::clients;
    else if (sweeping_ != Sweeping::sessions && has_sessions)
        sweeping_ = Sweeping::sessions;
    else
        sweeping_ = Sweeping::flows, ++sweeps_;
}

void Pipeline::sweep(const ForwardingSnapshot& world, Tick now, std::uint32_t buckets) noexcept {
    if (world.generation != swept_generation_) {
        swept_generation_ = world.generation;
        looks_for_gone_until_ = sweeps_ + 2;  // one that was begun after the change
    }
    while (buckets > 0) {
        const std::uint32_t left = left_of_table();
        const std::uint32_t due = std::min(buckets, left);
        buckets -= due;
        sweep_table(world, now, due);
        if (due < left) break;
        next_table();
    }
    counters_.flow_sweeps.set(sweeps_);
    counters_.flow_entries.set(flows_.entries());
}

// A backend is the same in the views of all modes.
void Pipeline::sweep_clients(const ForwardingSnapshot& world, Tick now, std::uint32_t buckets) noexcept {
    const auto is_gone = [&world](FlowOwner owner) noexcept {
        return std::ranges::all_of(world.backends, [owner](const BackendView& view) {
            return view[owner.backend].state == TrafficState::absent;
        });
    };
    StickyTable& clients = *sticky_.table();
    if (sweeps_ < looks_for_gone_until_)
        clients.sweep(buckets, now, is_gone);
    else
        clients.sweep(buckets, now, NobodyIsGone{});
    counters_.sticky_entries.set(clients.entries());
}

}  // namespace weir
