// The world that a row's packets meet: compiled from a configuration by the control core's own code.
#pragma once

#include <memory>
#include <vector>

#include "ctrl/world.h"
#include "dataplane/pipeline.h"
#include "drivers/huge_memory.h"
#include "tests/bench/row.h"

namespace weir::bench {

inline constexpr MacAddress kWeirMac{{2, 0, 0, 0, 0, 1}}, kRouterMac{{2, 0, 0, 0, 0, 0xfe}};
inline constexpr std::uint16_t kServicePort = 443;

constexpr Ipv4Address vip_v4(std::uint32_t service) noexcept { return {Be32(0xc612'0000u + service)}; }
constexpr Ipv6Address vip_v6(std::uint32_t service) noexcept {
    return {{0x20, 0x01, 0x0d, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(service >> 8),
             static_cast<std::uint8_t>(service)}};
}

// One worker's pipeline and the world it reads, as `weir run` would make them.
class BenchWorker {
  public:
    // The flow table is twice as large as the row's flows need (50 % load), and never smaller than 64 Ki
    // slots. Ends the process with a sentence if the machine lacks the memory.
    BenchWorker(const Row& row, std::uint64_t slots);

    // Packets of one port, in bursts, each as a worker's loop handles it: pipeline, transmit buffers, sweep.
    // The mbufs stay the caller's: the device that "sends" them is a stub.
    void run(std::span<rte_mbuf* const> packets, Tick now) noexcept;

    [[nodiscard]] const WorkerCounters& counters() const noexcept { return *counters_; }
    [[nodiscard]] const FlowTable& flows() const noexcept { return pipeline_.flows(); }
    [[nodiscard]] HugeMemory::Kind memory_kind() const noexcept { return memory_.kind(); }

  private:
    HugeMemory memory_;
    std::unique_ptr<WorkerCounters> counters_;
    std::vector<WorkerCounters*> workers_;
    World world_;
    const ForwardingSnapshot* snapshot_;
    Pipeline pipeline_;
};

std::uint64_t slots_for(std::uint64_t flows) noexcept;
HugeMemory memory_or_exit(std::size_t bytes);

}  // namespace weir::bench
