// A lane: something that packets are sent through and timed. Time is taken around batches, so that the
// generator, which writes a batch before, is not in it.
#pragma once

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "tests/bench/bench_world.h"
#include "tests/bench/floor.h"
#include "tests/bench/replies.h"
#include "tests/bench/row.h"
#include "tests/bench/traffic.h"

namespace weir::bench {

// As many as a receive queue's worth of a busy worker: mbufs and headers lie in the L2 cache, written just
// before by the generator, as a NIC's would lie in the last-level cache.
inline constexpr std::size_t kBatch = 256;
inline constexpr std::uint32_t kBatchesPerSlice = 32;
inline constexpr std::uint32_t kSlicePackets = kBatch * kBatchesPerSlice;

using Mbufs = std::array<rte_mbuf*, kBatch>;

class Lane {
  public:
    virtual ~Lane() = default;
    // TSC cycles a packet, over one slice.
    [[nodiscard]] virtual double slice(const Mbufs& mbufs) = 0;
};

// TSC, with everything before it done and nothing after it begun.
inline std::uint64_t fenced_tsc() noexcept {
    rte_mb();
    const std::uint64_t tsc = rte_rdtsc_precise();
    rte_mb();
    return tsc;
}

template <class Prepare, class Run>
double timed_slice(Prepare&& prepare, Run&& run) {
    std::uint64_t cycles = 0;
    for (std::uint32_t batch = 0; batch < kBatchesPerSlice; ++batch) {
        prepare();
        const std::uint64_t before = fenced_tsc();
        run();
        cycles += fenced_tsc() - before;
    }
    return static_cast<double>(cycles) / kSlicePackets;
}

// The floor on as many cache lines as the row's flow table has.
class FloorLane final : public Lane {
  public:
    explicit FloorLane(const Row& row);
    double slice(const Mbufs& mbufs) override;

  private:
    Row row_;
    Traffic traffic_;
    HugeMemory memory_;
    Floor floor_;
};

class WeirLane final : public Lane {
  public:
    // Makes the row's flows known.
    WeirLane(const Row& row, const Mbufs& mbufs);
    double slice(const Mbufs& mbufs) override;

    [[nodiscard]] const BenchWorker& worker() const noexcept { return worker_; }
    // Ends the process if any packet was not forwarded: such a figure would be worth nothing.
    void check_all_forwarded() const;

  private:
    void run(std::span<rte_mbuf* const> packets) { worker_.run(packets, now()); }
    [[nodiscard]] Tick now() const noexcept;
    void make_known(std::span<rte_mbuf* const> mbufs);
    void answer(std::span<rte_mbuf* const> translated, std::uint32_t first);
    void fill_with_fresh(const Mbufs& mbufs);

    Row row_;
    Traffic traffic_;
    BenchWorld world_;
    BenchWorker worker_;
    std::optional<Replies> replies_;  // mode nat, whose known flows have been answered
};

// The TSC in ticks of weir's clock.
[[nodiscard]] Tick real_tick() noexcept;

}  // namespace weir::bench
