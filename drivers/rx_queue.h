// One receive queue of one port: the port and queue numbers travel together, so they cannot be mixed up.
// Only the worker that owns the queue may call receive().
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <span>

namespace weir {

struct RxQueue {
    std::uint16_t ethdev;
    std::uint16_t queue;

    // Takes up to `packets.size()` frames off the queue; the caller owns them. Never blocks.
    [[nodiscard]] std::uint16_t receive(std::span<rte_mbuf*> packets) const noexcept {
        return rte_eth_rx_burst(ethdev, queue, packets.data(), static_cast<std::uint16_t>(packets.size()));
    }
};

}  // namespace weir
