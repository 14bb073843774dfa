// The world that a row's packets meet: compiled from a configuration by the control core's own code.
#pragma once

#include <memory>
#include <vector>

#include "ctrl/world.h"
#include "dataplane/pipeline.h"
#include "dataplane/table_memory.h"
#include "drivers/huge_memory.h"
#include "tests/bench/row.h"
#include "tests/ctrl/config_builder.h"

namespace weir::bench {

inline constexpr MacAddress kWeirMac{{2, 0, 0, 0, 0, 1}}, kRouterMac{{2, 0, 0, 0, 0, 0xfe}};
inline constexpr std::uint16_t kServicePort = 443;

constexpr Ipv4Address vip_v4(std::uint32_t service) noexcept { return {Be32(0xc612'0000u + service)}; }
constexpr Ipv6Address vip_v6(std::uint32_t service) noexcept {
    return {{0x20, 0x01, 0x0d, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(service >> 8),
             static_cast<std::uint8_t>(service)}};
}

// Backend `number` of a row: on the port's own link, of the outer family; without a tunnel of the packets'.
[[nodiscard]] IpAddress backend_address(const Row& row, std::uint32_t number);
// Mode nat: replies are to it.
[[nodiscard]] IpAddress snat_address(Family family);

// What the workers of a row read.
class BenchWorld {
  public:
    // Ends the process with a sentence if the row cannot be configured.
    explicit BenchWorld(const Row& row, unsigned workers = 1);

    [[nodiscard]] WorkerCounters& counters(std::size_t worker) { return counters_[worker]; }
    [[nodiscard]] const ForwardingSnapshot& snapshot() const noexcept { return *snapshot_; }

  private:
    CountingWorkers counters_;
    World world_;
    const ForwardingSnapshot* snapshot_;
};

// One worker's pipeline, as `weir run` would make it.
class BenchWorker {
  public:
    // The flow table is twice as large as the row's flows need (50 % load), and never smaller than 64 Ki
    // slots; mode nat has room for a quarter more sessions than flows. Ends the process with a sentence if
    // the machine lacks the memory. `rings`: of all workers of the world, or null if it is the only one.
    BenchWorker(BenchWorld& world, const Row& row, std::uint64_t slots, std::uint32_t id = 0,
                WorkerRings* rings = nullptr);

    // Packets of one port, in bursts, each as a worker's loop handles it: pipeline, transmit buffers, sweep.
    // The mbufs stay the caller's: the device that "sends" them is a stub.
    void run(std::span<rte_mbuf* const> packets, Tick now) noexcept;
    // One burst from its ring. How many packets that was.
    std::uint32_t take_over(Tick now) noexcept;

    [[nodiscard]] const WorkerCounters& counters() const noexcept { return counters_; }
    [[nodiscard]] const FlowTable& flows() const noexcept { return pipeline_.flows(); }
    [[nodiscard]] HugeMemory::Kind memory_kind() const noexcept { return memory_.kind(); }

  private:
    void run_burst(Burst& burst, Tick now) noexcept;

    HugeMemory memory_;
    TableMemory tables_;
    WorkerCounters& counters_;
    const ForwardingSnapshot& snapshot_;
    WorkerRings* rings_;
    std::uint32_t id_;
    Pipeline pipeline_;
};

std::uint64_t slots_for(std::uint64_t flows) noexcept;
HugeMemory memory_or_exit(std::size_t bytes);

}  // namespace weir::bench
