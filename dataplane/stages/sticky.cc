#include "dataplane/stages/sticky.h"

#include "dataplane/packet.h"
#include "dataplane/tables/selection.h"

namespace weir {

namespace {

// The packet has been classified, here or where it came in: its headers are whole.
bool is_v4(const rte_mbuf* packet) noexcept {
    const auto* ethernet = rte_pktmbuf_mtod(packet, const EthernetHeader*);
    return ethernet->type == Be16(static_cast<std::uint16_t>(EtherType::ipv4));
}
template <class F>
typename F::Address source_of(const rte_mbuf* packet) noexcept {
    return l3_bytes(packet).at<typename F::Header>(0).source;
}

// Whoever handed it over waits for it to come back.
bool is_question(const HandOver& note) noexcept {
    return note.kind == HandOverKind::client_flow || note.kind == HandOverKind::client_packet;
}

// kNoBackend never serves.
bool may_serve(const ForwardingSnapshot& world, const ServiceRecord& service, BackendId id) noexcept {
    const BackendRecord& record = world.view_of(service)[id];
    return record.pool == service.pool && record.state == TrafficState::serving;
}

}  // namespace

StickyPart::StickyPart(const StickySpec& spec, WorkerCounters& counters) noexcept
    : key_(spec.key),
      worker_(spec.worker),
      workers_(spec.rings != nullptr ? spec.rings->workers() : 1),
      rings_(spec.rings),
      counters_(counters) {
    if (!spec.memory.empty()) table_.emplace(spec.memory);
}

std::uint64_t StickyPart::client_of(const rte_mbuf* packet, const PoolTable& pool) const noexcept {
    return is_v4(packet) ? client_hash<V4>(key_, pool.id, pool.sticky.prefix_of(source_of<V4>(packet)))
                         : client_hash<V6>(key_, pool.id, pool.sticky.prefix_of(source_of<V6>(packet)));
}

BackendId StickyPart::decide(const Asking& asking, std::uint64_t client, const ForwardingSnapshot& world,
                             Tick now) noexcept {
    const PoolTable& pool = *asking.service.table;
    const auto serves = [&](BackendId id) noexcept { return may_serve(world, asking.service, id); };
    const auto choose = [&]() noexcept {
        const HashKey& key = world.selection_key;
        return choose_backend(pool,
                              is_v4(asking.packet)
                                  ? prefix_hash<V4>(key, pool.sticky, source_of<V4>(asking.packet))
                                  : prefix_hash<V6>(key, pool.sticky, source_of<V6>(asking.packet)),
                              now);
    };
    if (!asking.begins_flow) {
        const BackendId known = table_->find({client, pool.id}, now);
        return serves(known) ? known : choose();
    }
    const auto [backend, outcome] =
        table_->decide({client, pool.id}, now, pool.sticky.duration, serves, choose);
    if (outcome == StickyTable::Outcome::full) counters_.sticky_full.add(1);
    const bool evicted = outcome == StickyTable::Outcome::evicted;
    if (evicted) counters_.sticky_evictions.add(1);
    if (evicted || outcome == StickyTable::Outcome::inserted) counters_.sticky_inserts.add(1);
    counters_.sticky_entries.set(table_->entries());
    return backend;
}

bool StickyPart::ask(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, Tick now) noexcept {
    if (!table_) return false;
    const ServiceRecord& service = world.service_records[index(burst.service[i])];
    const bool begins_flow = first_flow_state(burst.event[i]) != FlowState::none;
    const std::uint64_t client = client_of(burst.packet[i], *service.table);
    const std::uint32_t owner = owner_of_client(client, workers_);
    if (owner == worker_) {
        burst.pin_to(i, decide({burst.packet[i], service, begins_flow}, client, world, now));
        return false;
    }
    burst.owner[i] = static_cast<std::uint8_t>(owner);
    burst.asked.add(i);
    burst.packet[i]->port = index(burst.port);
    HandOver{.kind = begins_flow ? HandOverKind::client_flow : HandOverKind::client_packet,
             .origin = static_cast<std::uint8_t>(worker_),
             .service = burst.service[i]}
        .put_on(burst.packet[i]);
    return true;
}

// One put() for each owner.
void StickyPart::hand_over(Burst& burst) noexcept {
    IndexSet done;
    burst.asked.for_each([&](std::uint32_t first) {
        if (done.has(first)) return;
        std::array<rte_mbuf*, kBurstSize> packets;
        std::array<std::uint8_t, kBurstSize> positions;
        std::uint32_t count = 0;
        burst.asked.for_each([&](std::uint32_t i) {
            if (burst.owner[i] != burst.owner[first]) return;
            positions[count] = static_cast<std::uint8_t>(i);
            packets[count++] = burst.packet[i];
            done.add(i);
        });
        const bool stops = rings_->is_closed(worker_);  // nobody will be here for the answer
        const std::uint32_t taken =
            stops ? 0 : rings_->put(burst.owner[first], std::span(packets).first(count));
        for (std::uint32_t n = 0; n < taken; ++n) burst.handed_over.add(positions[n]);
        counters_.sticky_handed_over.add(taken);
        counters_.sticky_bypassed.add(count - taken);
    });
}

void StickyPart::decide_handed(rte_mbuf* packet, HandOver note, const ForwardingSnapshot& world,
                               Tick now) noexcept {
    const bool begins_flow = note.kind == HandOverKind::client_flow;
    note.kind = HandOverKind::client_choice;
    note.backend = kNoBackend;
    // The service may have gone, or its pool may not be sticky any more, since the packet was handed over.
    if (index(note.service) < world.service_records.size()) {
        const ServiceRecord& service = world.service_records[index(note.service)];
        if (service.table != nullptr && service.table->sticky.is_on())
            note.backend =
                decide({packet, service, begins_flow}, client_of(packet, *service.table), world, now);
    }
    note.put_on(packet);
}

std::uint32_t StickyPart::answer(std::span<rte_mbuf*> packets, const ForwardingSnapshot& world,
                                 Tick now) noexcept {
    std::uint32_t kept = 0;
    std::array<rte_mbuf*, kBurstSize> back;
    for (std::size_t at = 0; at < packets.size();) {
        const HandOver note = HandOver::of(packets[at]);
        if (!is_question(note)) {
            packets[kept++] = packets[at++];
            continue;
        }
        std::uint32_t count = 0;
        for (; at < packets.size() && count < back.size(); ++at) {  // a run from one origin
            const HandOver next = HandOver::of(packets[at]);
            if (!is_question(next) || next.origin != note.origin) break;
            decide_handed(packets[at], next, world, now);
            back[count++] = packets[at];
        }
        const std::uint32_t taken = rings_->put(note.origin, std::span(back).first(count));
        for (std::uint32_t n = taken; n < count; ++n) packets[kept++] = back[n];
    }
    return kept;
}

}  // namespace weir
