// transmit: frames into the transmit buffer of their port, in arrival order; and out of it onto the wire.
//
// A buffer is flushed after every burst, so nothing waits in it between loops: no packet is held back for a
// fuller batch, and received = forwarded + answered + punted + dropped holds whenever a worker is between
// bursts.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "dataplane/burst.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/vlan_frame.h"

namespace weir {

// What leaves through one port with this burst. Per worker and port.
class alignas(64) TxBuffer {
  public:
    void push_forwarded(rte_mbuf* packet) noexcept { packets_[count_++] = packet; }
    // A whole burst. Precondition: the buffer is empty.
    void push_forwarded(const std::array<rte_mbuf*, kBurstSize>& packets, std::uint32_t count) noexcept {
        for (std::uint32_t i = 0; i < count; ++i) packets_[i] = packets[i];
        count_ = count;
    }
    void push_answer(rte_mbuf* packet) noexcept {
        answers_ |= std::uint64_t{1} << count_;
        packets_[count_++] = packet;
    }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    // Before flush(), where the port is a VLAN.
    void tag(VlanTags tags) noexcept { put_tags(std::span(packets_.data(), count_), tags); }

    // Gives the frames to `wire` (a TxQueue, or the capture of a replay); what it refuses is the drop
    // tx_full. Forwarded and answered are counted here, when the device has the frame.
    template <class Wire>
    void flush(Wire& wire, WorkerCounters& counters) noexcept {
        const std::uint32_t sent = wire.send(std::span(packets_.data(), count_));
        const std::uint64_t taken = sent == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << sent) - 1;
        const auto answered = static_cast<std::uint32_t>(__builtin_popcountll(answers_ & taken));
        counters.forwarded.add(sent - answered);
        if (answered != 0) counters.answered.add(answered);
        if (sent < count_) [[unlikely]]
            drop_from(sent, DropReason::tx_full, counters);
        count_ = 0;
        answers_ = 0;
    }
    // There is no wire: the port is disabled.
    [[gnu::cold]] void discard(WorkerCounters& counters) noexcept {
        drop_from(0, DropReason::port_down, counters);
        count_ = 0;
        answers_ = 0;
    }

  private:
    void drop_from(std::uint32_t first, DropReason why, WorkerCounters& counters) noexcept {
        counters.dropped[static_cast<std::size_t>(why)].add(count_ - first);
        rte_pktmbuf_free_bulk(packets_.data() + first, count_ - first);
    }

    std::uint32_t count_ = 0;
    std::uint64_t answers_ = 0;  // bit i: packets_[i] is an answer of weir's own
    std::array<rte_mbuf*, kBurstSize> packets_;
    static_assert(kBurstSize <= 64);
};

// By port.
using TxBuffers = std::array<TxBuffer, kMaxPorts>;

inline void transmit(const Burst& burst, TxBuffers& buffers) noexcept {
    const bool all_forwarded =
        burst.dropped.empty() && burst.answered.empty() && burst.punted.empty() && burst.handed_over.empty();
    if (all_forwarded && std::has_single_bit(burst.egress_ports)) [[likely]]
        return buffers[static_cast<std::size_t>(std::countr_zero(burst.egress_ports))].push_forwarded(
            burst.packet, burst.size);
    for (std::uint32_t i = 0; i < burst.size; ++i) {
        if (burst.answered.has(i))
            buffers[index(burst.port)].push_answer(burst.packet[i]);
        else if (!burst.dropped.has(i) && !burst.punted.has(i) && !burst.handed_over.has(i))
            buffers[index(burst.backend[i]->egress)].push_forwarded(burst.packet[i]);
    }
}

}  // namespace weir
