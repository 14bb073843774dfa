// rewrite: the packet as its backend is to see it.
//
// The packets are grouped by how they travel (family, mode and outer family); one straight loop a group, with
// everything that differs fixed at compile time (rewrite_dsr.h, rewrite_tunnel.h). select_backend has seen to
// it that nothing can go wrong here.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/net/family.h"
#include "dataplane/stages/rewrite_dsr.h"
#include "dataplane/stages/rewrite_tunnel.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

namespace detail {

template <class Inner>
[[gnu::always_inline]] inline void rewrite_family(Burst& burst, const HashKey& selection_key) noexcept {
    const auto group = [&burst](RewritePath path) -> const IndexList& {
        return burst.selected[Burst::list_of(path, Inner::kFamily)];
    };
    rewrite_dsr(burst, group(RewritePath::dsr));
    rewrite_tunnel<Ipip<V4>, Inner>(burst, group(RewritePath::ipip_v4), selection_key);
    rewrite_tunnel<Ipip<V6>, Inner>(burst, group(RewritePath::ipip_v6), selection_key);
    rewrite_tunnel<Gue<V4>, Inner>(burst, group(RewritePath::gue_v4), selection_key);
    rewrite_tunnel<Gue<V6>, Inner>(burst, group(RewritePath::gue_v6), selection_key);
}

}  // namespace detail

inline void rewrite(Burst& burst, const ForwardingSnapshot& world) noexcept {
    detail::rewrite_family<V4>(burst, world.selection_key);
    detail::rewrite_family<V6>(burst, world.selection_key);
}

}  // namespace weir
