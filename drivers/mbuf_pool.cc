#include "drivers/mbuf_pool.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>

#include <algorithm>
#include <bit>
#include <string>

#include "drivers/log_capture.h"

namespace weir {
namespace {

// GUE over IPv6 with an Ethernet header and a VLAN tag needs 14 + 4 + 40 + 8 + 8 bytes before the inner
// packet.
static_assert(RTE_PKTMBUF_HEADROOM >= 74);

// A pool whose frames lie in `memory`, as rte_pktmbuf_pool_create makes one in EAL's. Null: rte_errno says
// why.
rte_mempool* make_pool_in(const HugeMemory& memory, const char* name, std::uint32_t frames,
                          std::uint16_t data_room, int node) {
    // Else DPDK lets no frame cross a page of 4 KB, for devices that know physical addresses: none of these.
    constexpr unsigned kFlags = RTE_MEMPOOL_F_NO_IOVA_CONTIG;
    rte_mempool* pool = rte_mempool_create_empty(name, frames, sizeof(rte_mbuf) + data_room, kPoolCache,
                                                 sizeof(rte_pktmbuf_pool_private), node, kFlags);
    if (pool == nullptr) return nullptr;
    const auto start = memory.bytes();
    int code = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr);
    if (code == 0) {
        rte_pktmbuf_pool_init(pool, nullptr);
        code = rte_mempool_populate_iova(pool, reinterpret_cast<char*>(start.data()),
                                         reinterpret_cast<rte_iova_t>(start.data()), start.size(), nullptr,
                                         nullptr);
    }
    if (code < 0 || pool->populated_size < frames) {
        rte_errno = code < 0 ? -code : ENOMEM;
        rte_mempool_free(pool);
        return nullptr;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
    return pool;
}

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
    // With DPDK's header, and the padding by which it spreads objects over memory channels.
    const std::uint32_t element =
        rte_mempool_calc_obj_size(sizeof(rte_mbuf) + RTE_PKTMBUF_HEADROOM + frame_room, 0, nullptr);
    const std::uint64_t ring = std::uint64_t{frames + 1} * sizeof(void*);
    return std::uint64_t{frames} * element + ring;
}

MbufPools::~MbufPools() {
    for (const auto& [place, pool] : pools_) rte_mempool_free(pool);
    for (rte_mempool* pool : device_pools_) rte_mempool_free(pool);
}

Result<rte_mempool*> MbufPools::pool_for(int node, std::uint16_t frame_room) {
    const int home = node == SOCKET_ID_ANY ? static_cast<int>(rte_socket_id_by_idx(0)) : node;
    if (const auto found = pools_.find({home, frame_room}); found != pools_.end()) return found->second;

    const std::uint32_t frames = frames_needed(demand_);
    const std::string name = "frames_" + std::to_string(home) + "_" + std::to_string(frame_room);
    const auto data_room = static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + frame_room);
    const LogCapture log;
    rte_mempool* pool = nullptr;
    if (rte_eal_has_hugepages() != 0) {
        pool = rte_pktmbuf_pool_create(name.c_str(), frames, kPoolCache, 0, data_room, home);
    } else if (pool_bytes(frames, frame_room) > rte_eal_get_physmem_size()) {
        rte_errno = ENOMEM;  // dataplane.memory bounds what is not EAL's as well
    } else {
        auto memory = HugeMemory::allocate(pool_bytes(frames, frame_room), false);
        if (!memory) return tl::make_unexpected(memory.error());
        memory_.push_back(std::move(*memory));
        pool = make_pool_in(memory_.back(), name.c_str(), frames, data_room, home);
    }
    if (pool == nullptr) {
        // A quarter more for what DPDK itself, rings and the devices need.
        const std::uint64_t megabytes = pool_bytes(frames, frame_room) * 5 / 4 / (1u << 20) + 64;
        const std::string what = "no memory for " + std::to_string(frames) + " frames of " +
                                 std::to_string(frame_room) + " bytes (" + rte_strerror(rte_errno) + "): ";
        return operator_error(what + "raise dataplane.memory to at least " + std::to_string(megabytes) +
                              " MB, or lower dataplane.workers");
    }
    pools_[{home, frame_room}] = pool;
    return pool;
}

tl::expected<rte_mempool*, std::string> MbufPools::pool_for_device(std::uint16_t frame_room,
                                                                   std::uint32_t held_by_device) {
    const auto no = [](std::string why) { return tl::make_unexpected(std::move(why)); };
    if (device_pools_.size() == kMostDevicePools)
        return no("it was made anew " + std::to_string(kMostDevicePools) +
                  " times, and each time keeps the frames that its rings held");
    // Of EAL's pages a pool may get several pieces.
    if (rte_eal_has_hugepages() != 0) return no("with hugepages its frames do not lie in one piece");
    PoolDemand demand = demand_;
    demand.held_by_devices += held_by_device;
    const std::uint32_t frames = frames_needed(demand);
    const std::uint64_t bytes = pool_bytes(frames, frame_room);
    auto memory = HugeMemory::allocate(bytes, false);
    if (!memory || bytes > rte_eal_get_physmem_size()) return no("there is no memory for its frames");
    const std::string name = "device_frames_" + std::to_string(device_pools_.size());
    const auto data_room = static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + frame_room);
    rte_mempool* pool = make_pool_in(*memory, name.c_str(), frames, data_room, SOCKET_ID_ANY);
    if (pool == nullptr)
        return no(std::string("there is no memory for its frames: ") + rte_strerror(rte_errno));
    memory_.push_back(std::move(*memory));
    device_pools_.push_back(pool);
    return pool;
}

std::uint32_t MbufPools::in_use() const noexcept {
    std::uint32_t frames = 0;
    for (const auto& [place, pool] : pools_) frames += rte_mempool_in_use_count(pool);
    return frames;
}

}  // namespace weir
