// receive: frames off one queue, and a prefetch of each one's headers.
#pragma once

#include <rte_prefetch.h>

#include "dataplane/burst.h"
#include "dataplane/packet.h"
#include "dataplane/state/worker_counters.h"
#include "drivers/rx_queue.h"

namespace weir {

inline void receive(Burst& burst, const RxQueue& queue) noexcept {
    burst.size = queue.receive(burst.packet);
    for (std::uint32_t i = 0; i < burst.size; ++i) rte_prefetch0(frame_start(burst.packet[i]));
}

}  // namespace weir
