#include "drivers/mbuf_pool.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <bit>
#include <string>

#include "drivers/log_capture.h"

namespace weir {
namespace {

// GUE over IPv6 with an Ethernet header and a VLAN tag needs 14 + 4 + 40 + 8 + 8 bytes before the inner
// packet.
static_assert(RTE_PKTMBUF_HEADROOM >= 74);

}  // namespace

std::uint32_t frames_needed(const PoolDemand& demand) {
    const std::uint32_t caches = kPoolCache + kPoolCache / 2;
    const std::uint32_t frames =
        demand.ports * demand.workers * (demand.rx_descriptors + demand.tx_descriptors) +
        demand.workers * (demand.burst + demand.held_per_worker + caches) + demand.burst + 2 * caches +
        demand.held_by_devices;
    return std::bit_ceil(frames + 1) - 1;
}

std::uint64_t pool_bytes(std::uint32_t frames, std::uint16_t frame_room) {
    const std::uint64_t element =
        sizeof(rte_mbuf) + RTE_PKTMBUF_HEADROOM + frame_room + sizeof(rte_mempool_objhdr);
    const std::uint64_t ring = std::uint64_t{frames + 1} * sizeof(void*);
    return frames * ((element + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE * RTE_CACHE_LINE_SIZE) + ring;
}

MbufPools::~MbufPools() {
    for (const auto& [place, pool] : pools_) rte_mempool_free(pool);
}

Result<rte_mempool*> MbufPools::pool_for(int node, std::uint16_t frame_room) {
    const int home = node == SOCKET_ID_ANY ? static_cast<int>(rte_socket_id_by_idx(0)) : node;
    if (const auto found = pools_.find({home, frame_room}); found != pools_.end()) return found->second;

    const std::uint32_t frames = frames_needed(demand_);
    const std::string name = "frames_" + std::to_string(home) + "_" + std::to_string(frame_room);
    const LogCapture log;
    rte_mempool* pool =
        rte_pktmbuf_pool_create(name.c_str(), frames, kPoolCache, 0,
                                static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + frame_room), home);
    if (pool == nullptr) {
        // A quarter more for what DPDK itself, rings and the devices need.
        const std::uint64_t megabytes = pool_bytes(frames, frame_room) * 5 / 4 / (1u << 20) + 64;
        const std::string what = "no memory for " + std::to_string(frames) + " frames of " +
                                 std::to_string(frame_room) + " bytes (" + rte_strerror(rte_errno) + "): ";
        // Small pages waste memory at their ends, nearly half of it for frames of 2 KiB.
        const std::uint64_t enough = rte_eal_has_hugepages() != 0 ? megabytes : megabytes * 2;
        return operator_error(what + "raise dataplane.memory to at least " + std::to_string(enough) +
                              " MB, or lower dataplane.workers");
    }
    pools_[{home, frame_room}] = pool;
    return pool;
}

std::uint32_t MbufPools::in_use() const noexcept {
    std::uint32_t frames = 0;
    for (const auto& [place, pool] : pools_) frames += rte_mempool_in_use_count(pool);
    return frames;
}

}  // namespace weir
