// rewrite: the packet as its backend is to see it.
//
// The packets of one family are grouped by how they travel (mode and outer family); then one straight loop a
// group, with everything that differs fixed at compile time (rewrite_dsr.h, rewrite_tunnel.h).
//
// Exits: verdict forward, or the drops no_neighbor, too_big, segmented and no_headroom.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/net/family.h"
#include "dataplane/stages/rewrite_dsr.h"
#include "dataplane/stages/rewrite_tunnel.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

namespace detail {

// What holds for every mode, before a byte is changed.
inline DropReason check_egress(const Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                               const BackendRecord& backend) noexcept {
    if (!backend.resolved) return DropReason::no_neighbor;
    const std::uint32_t tunnel = backend.header_length - static_cast<std::uint32_t>(sizeof(EthernetHeader));
    if (burst.ip_length[i] + tunnel > backend.max_ip_length) return DropReason::too_big;
    if (burst.packet[i]->nb_segs > 1 && !world.ports[index(backend.egress)].can_send_chains)
        return DropReason::segmented;
    return kNotDropped;
}

}  // namespace detail

template <class Inner>
void rewrite(Burst& burst, const IndexList& selected, const ForwardingSnapshot& world) noexcept {
    IndexList dsr, ipip_v4, ipip_v6, gue_v4, gue_v6;
    for (const std::uint32_t i : selected) {
        const BackendRecord& backend = *burst.backend[i];
        if (const DropReason reason = detail::check_egress(burst, i, world, backend); reason != kNotDropped)
            [[unlikely]] {
            burst.drop(i, reason);
            continue;
        }
        const bool v4 = backend.outer_family == Family::v4;
        if (backend.mode == ForwardingMode::dsr)
            dsr.push(i);
        else if (backend.mode == ForwardingMode::ipip)
            (v4 ? ipip_v4 : ipip_v6).push(i);
        else  // the compiler of the snapshot lets no other mode through
            (v4 ? gue_v4 : gue_v6).push(i);
    }
    rewrite_dsr(burst, dsr);
    rewrite_tunnel<Ipip<V4>, Inner>(burst, ipip_v4, world.selection_key);
    rewrite_tunnel<Ipip<V6>, Inner>(burst, ipip_v6, world.selection_key);
    rewrite_tunnel<Gue<V4>, Inner>(burst, gue_v4, world.selection_key);
    rewrite_tunnel<Gue<V6>, Inner>(burst, gue_v6, world.selection_key);
}

}  // namespace weir
