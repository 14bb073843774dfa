// drop: the burst's dropped packets, freed in bulk and counted by reason, for the worker and (where one is
// known) for the service.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/burst.h"
#include "dataplane/state/worker_counters.h"

namespace weir {

inline void drop(const Burst& burst, WorkerCounters& counters) noexcept {
    if (burst.dropped.empty()) [[likely]]
        return;
    std::array<rte_mbuf*, kBurstSize> dropped;
    unsigned count = 0;
    burst.dropped.for_each([&](std::uint32_t i) {
        dropped[count++] = burst.packet[i];
        const DropReason reason = burst.reason[i];
        counters.drop(reason);
        if (reason >= kFirstServiceReason) {
            constexpr auto kFirst = static_cast<std::size_t>(kFirstServiceReason);
            counters.services[index(burst.service[i])].dropped[static_cast<std::size_t>(reason) - kFirst].add(
                1);
        }
    });
    rte_pktmbuf_free_bulk(dropped.data(), count);
}

}  // namespace weir
