#include "drivers/host_rings.h"

#include <rte_errno.h>
#include <rte_lcore.h>

#include <array>
#include <string>

namespace weir {

Result<HostRings> HostRings::make(unsigned worker) {
    const auto ring = [&](const char* direction) -> Result<Ring> {
        const std::string name = std::string("weir_") + direction + "_" + std::to_string(worker);
        Ring made(rte_ring_create(name.c_str(), kFrames, SOCKET_ID_ANY,
                                  RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ));
        if (made == nullptr)
            return machine_error("no memory for ring " + name + " between worker " + std::to_string(worker) +
                                 " and the host thread (" + rte_strerror(rte_errno) +
                                 "): raise dataplane.memory");
        return made;
    };
    auto punted = ring("punt");
    if (!punted) return tl::make_unexpected(punted.error());
    auto outgoing = ring("host");
    if (!outgoing) return tl::make_unexpected(outgoing.error());
    return HostRings(std::move(*punted), std::move(*outgoing));
}

HostRings::~HostRings() {
    for (const Ring* ring : {&punted_, &outgoing_}) {
        if (*ring == nullptr) continue;  // moved from
        std::array<rte_mbuf*, 64> left;
        while (const std::uint32_t count = get(**ring, left)) rte_pktmbuf_free_bulk(left.data(), count);
    }
}

}  // namespace weir
