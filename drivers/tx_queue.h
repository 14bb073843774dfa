// One transmit queue of one port. Only the worker that owns the queue may call send().
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <span>

namespace weir {

struct TxQueue {
    std::uint16_t ethdev;
    std::uint16_t queue;

    // Hands frames to the device and returns how many it took, from the front; those are the device's, the
    // rest stays the caller's. Never blocks.
    [[nodiscard]] std::uint16_t send(std::span<rte_mbuf*> packets) const noexcept {
        return rte_eth_tx_burst(ethdev, queue, packets.data(), static_cast<std::uint16_t>(packets.size()));
    }
};

}  // namespace weir
