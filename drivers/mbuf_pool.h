// Where frames live: one pool per NUMA node and frame room, made when a port first asks for it. Start-up
// only, main thread; the pools themselves are used by every worker.
//
// With hugepages the frames lie in EAL's memory. Without, EAL has 4 KB pages only, a frame on nearly each,
// and a burst needs more of them than a core's first-level TLB holds: the frames then lie in memory of weir's
// own, of which the kernel makes huge pages where it may.
#pragma once

#include <rte_mempool.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "drivers/huge_memory.h"
#include "drivers/result.h"

namespace weir {

// How many frames can be somewhere at once.
struct PoolDemand {
    std::uint32_t ports = 1;
    std::uint32_t workers = 1;
    std::uint32_t rx_descriptors = 1024, tx_descriptors = 1024;  // per queue
    std::uint32_t burst = 64;                                    // frames in a worker's hands
    std::uint32_t held_per_worker = 512;                         // in its rings to and from the host thread
    std::uint32_t held_by_devices = 0;                           // held_frames() of all devices
};

// A worker's private stock, so that most allocations touch no shared line.
inline constexpr std::uint32_t kPoolCache = 256;
// Frames up to this length need one mbuf. Longer ones come as chains from devices that scatter.
inline constexpr std::uint16_t kFrameRoom = 2048;
// Of a process's life; each is one more of the largest things in memory.
inline constexpr std::size_t kMostDevicePools = 4;

// ports x workers x (rx + tx descriptors)            every ring full at once
//   + workers x (burst + held + 1.5 x cache)         a cache holds up to 1.5 times its size before it gives
//   back
//   + burst + 2 x 1.5 x cache                        the host thread and the main thread
//   + held by devices
// rounded up to 2^n - 1, where the ring of a mempool fits best.
[[nodiscard]] std::uint32_t frames_needed(const PoolDemand& demand);
[[nodiscard]] std::uint64_t pool_bytes(std::uint32_t frames, std::uint16_t frame_room);

class MbufPools {
  public:
    explicit MbufPools(const PoolDemand& demand) noexcept : demand_(demand) {}
    MbufPools(MbufPools&& other) noexcept
        : demand_(other.demand_),
          memory_(std::move(other.memory_)),
          pools_(std::exchange(other.pools_, {})),
          device_pools_(std::exchange(other.device_pools_, {})) {}
    MbufPools& operator=(MbufPools&&) = delete;
    // Every port that received from the pools must be closed.
    ~MbufPools();

    // Each pool is sized for the whole demand, whatever its node: which port lies on which node is not known
    // beforehand. `node` may be SOCKET_ID_ANY. Error: not enough memory, with what to set.
    [[nodiscard]] Result<rte_mempool*> pool_for(int node, std::uint16_t frame_room = kFrameRoom);

    // A pool for one device alone, in one piece of memory: a device that registers the memory and keeps
    // frames when it is closed (net_af_xdp: those in its rings). Nobody can tell them from those that are on
    // their way through weir, so the pool is not used again and lasts as long as all pools: kMostDevicePools
    // of them, then no more. The error is a clause.
    [[nodiscard]] tl::expected<rte_mempool*, std::string> pool_for_device(std::uint16_t frame_room,
                                                                          std::uint32_t held_by_device);

    // Frames of shared pools out of their pools; 0 when nothing leaks and every device has given back what it
    // held.
    [[nodiscard]] std::uint32_t in_use() const noexcept;

  private:
    PoolDemand demand_;
    std::vector<HugeMemory> memory_;  // of the pools that do not lie in EAL's
    std::map<std::pair<int, std::uint16_t>, rte_mempool*> pools_;
    std::vector<rte_mempool*> device_pools_;
};

}  // namespace weir
