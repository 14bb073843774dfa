// The generator: packets of a row's flows, written into real mbufs. Not part of what is timed.
//
// A flow is a number; source address and port follow from it, so that sixteen million of them need no memory
// that would compete for the cache with the tables under test.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <span>

#include "tests/bench/row.h"

namespace weir::bench {

class Traffic {
  public:
    explicit Traffic(const Row& row);

    // The next packets of the row's mix. The mbufs are given their headroom back.
    void write(std::span<rte_mbuf* const> packets);
    // A packet of a known flow with these TCP flags.
    void write_flow(rte_mbuf& packet, std::uint32_t flow, std::uint8_t tcp_flags) const;

    // The flow of the next packet of a known one.
    [[nodiscard]] std::uint32_t next_known() noexcept;

    // Flows that the generator has begun by itself.
    [[nodiscard]] std::uint32_t fresh() const noexcept { return next_fresh_ - kFirstFresh; }

    // How the row's flows divide: known ones are 0 .. known() - 1, and so many fresh ones are to be alive.
    [[nodiscard]] std::uint32_t known() const noexcept {
        return row_.mix == Mix::fresh ? 0 : row_.mix == Mix::half ? (row_.flows + 1) / 2 : row_.flows;
    }
    [[nodiscard]] std::uint32_t fresh_alive() const noexcept {
        return row_.mix == Mix::half ? (row_.flows + 1) / 2 : row_.flows;
    }

    static constexpr std::uint32_t kFirstFresh = 1u << 28;

  private:
    void write_fresh(rte_mbuf& packet);
    void write_known(rte_mbuf& packet);
    [[nodiscard]] std::uint32_t random() noexcept;

    Row row_;
    std::array<std::uint8_t, 128> frame_{};  // headers of every packet, before it gets its flow
    std::uint64_t random_state_ = 0x9e37'79b9'7f4a'7c15;
    std::uint32_t next_fresh_ = kFirstFresh;
    std::uint32_t run_flow_ = 0, run_left_ = 0;
    bool fresh_turn_ = false;
};

}  // namespace weir::bench
