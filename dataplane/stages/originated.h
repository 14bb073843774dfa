// What the packets of a burst make weir send beside them: RSTs to clients, ICMP errors to backends, further
// fragments. Each leaves by a port of its own. Emptied after each burst. What the device refuses was never
// received, so it is no drop: it has counters of its own.
//
// The worker that owns it.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/burst.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/forwarding_snapshot.h"
#include "dataplane/vlan_frame.h"

namespace weir {

class OriginatedBuffer {
  public:
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    // Each packet of a burst may draw one frame. Whoever wants more asks.
    [[nodiscard]] bool has_room(std::uint32_t packets) const noexcept {
        return count_ + packets <= frames_.size() - kBurstSize;
    }
    // `kind`: kOriginatedRst and so on.
    void push(rte_mbuf* frame, PortId port, std::size_t kind) noexcept {
        frames_[count_++] = {frame, port, static_cast<std::uint8_t>(kind)};
    }
    // `wire_of` as Pipeline::flush() takes it.
    template <class WireOf>
    [[gnu::cold]] void flush(const ForwardingSnapshot& world, WireOf&& wire_of,
                             WorkerCounters& counters) noexcept {
        for (Frame& frame : std::span(frames_).first(count_)) {
            const std::span<rte_mbuf*> one(&frame.packet, 1);
            const PortRecord& port = world.ports[index(frame.port)];
            if (port.vlan.any()) put_tags(one, port.vlan);
            if (port.enabled && wire_of(frame.port).send(one) == 1) {
                counters.originated[frame.kind].add(1);
                continue;
            }
            counters.originated_lost[frame.kind].add(1);
            rte_pktmbuf_free(frame.packet);
        }
        count_ = 0;
    }

  private:
    struct Frame {
        rte_mbuf* packet;
        PortId port;
        std::uint8_t kind;
    };
    std::uint32_t count_ = 0;
    std::array<Frame, 4 * kBurstSize> frames_;
};

}  // namespace weir
