#include "dataplane/worker_rings.h"

#include <rte_errno.h>
#include <rte_lcore.h>

#include <string>

namespace weir {

Result<std::unique_ptr<WorkerRings>> WorkerRings::make(std::uint32_t workers) {
    std::unique_ptr<WorkerRings> rings(new WorkerRings(workers));
    for (std::uint32_t worker = 0; worker < workers; ++worker) {
        const std::string name = "weir_worker_" + std::to_string(worker);
        rte_ring* ring = rte_ring_create(name.c_str(), kFrames, SOCKET_ID_ANY,
                                         RING_F_MP_RTS_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
        if (ring == nullptr)
            return machine_error("no memory for ring " + name + " between the workers (" +
                                 rte_strerror(rte_errno) + "): raise dataplane.memory");
        // The distance at which producers would begin to wait for each other: never reached.
        (void)rte_ring_set_prod_htd_max(ring, rte_ring_get_capacity(ring));
        rings->mailboxes_[worker].ring = ring;
    }
    return rings;
}

WorkerRings::~WorkerRings() {
    for (std::uint32_t worker = 0; worker < workers_; ++worker) {
        if (mailboxes_[worker].ring == nullptr) continue;
        std::array<rte_mbuf*, 64> left;
        while (const std::uint32_t count = take(worker, left)) rte_pktmbuf_free_bulk(left.data(), count);
        rte_ring_free(mailboxes_[worker].ring);
    }
}

std::uint32_t WorkerRings::put(std::uint32_t to, std::span<rte_mbuf*> packets) noexcept {
    Mailbox& mailbox = mailboxes_[to];
    if (mailbox.closed.load(std::memory_order_relaxed)) return 0;
    const std::uint32_t taken =
        rte_ring_mp_rts_enqueue_burst(mailbox.ring, reinterpret_cast<void* const*>(packets.data()),
                                      static_cast<unsigned>(packets.size()), nullptr);
    RxWait* const sleeper = mailbox.sleeper.load(std::memory_order_acquire);
    if (sleeper != nullptr && taken != 0) sleeper->wake();
    return taken;
}

}  // namespace weir
