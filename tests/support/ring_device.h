// A device of rings whose queues are the test's own code, so that a sanitizer sees every step a frame takes.
//
// net_ring does the same, but in a library that is not instrumented: TSan would not see that its rings order
// what passes through them, and report each frame as a race. So this fills DPDK's table of fast-path
// functions for an ethdev number that no device has. One per process and number; frames are handed over,
// never freed here.
#pragma once

#include <rte_ethdev.h>
#include <rte_ring.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "dataplane/worker.h"

namespace weir::test {

class RingDevice {
  public:
    static constexpr unsigned kQueues = 2, kSlots = 1024;

    explicit RingDevice(std::uint16_t ethdev) : ethdev_(ethdev), saved_(rte_eth_fp_ops[ethdev]) {
        for (unsigned q = 0; q < kQueues; ++q) {
            in_[q] = make_ring("device_in");
            out_[q] = make_ring("device_out");
            rx_data_[q] = in_[q].get();
            tx_data_[q] = out_[q].get();
        }
        struct rte_eth_fp_ops& table = fast_path();
        table.rx_pkt_burst = receive;
        table.rxq = {rx_data_.data(), callbacks_.data()};
        table.tx_pkt_burst = send;
        table.txq = {tx_data_.data(), callbacks_.data()};
    }
    // Every worker has stopped.
    ~RingDevice() { fast_path() = saved_; }
    RingDevice(const RingDevice&) = delete;
    RingDevice& operator=(const RingDevice&) = delete;

    [[nodiscard]] WorkerQueues queues(std::uint16_t worker) const {
        return {RxQueue{ethdev_, worker}, TxQueue{ethdev_, worker}};
    }
    [[nodiscard]] std::uint16_t ethdev() const { return ethdev_; }
    // No worker uses the device any more: frees what it has not received, and says how many.
    std::uint64_t drop_received() {
        std::uint64_t dropped = 0;
        for (const Ring& ring : in_)
            for (void* frame = nullptr; rte_ring_sc_dequeue(ring.get(), &frame) == 0; ++dropped)
                rte_pktmbuf_free(static_cast<rte_mbuf*>(frame));
        return dropped;
    }
    // The other end of the wire: one thread.
    [[nodiscard]] bool give(unsigned queue, rte_mbuf* frame) {
        return rte_ring_sp_enqueue(in_[queue].get(), frame) == 0;
    }
    [[nodiscard]] rte_mbuf* take(unsigned queue) {
        void* frame = nullptr;
        return rte_ring_sc_dequeue(out_[queue].get(), &frame) == 0 ? static_cast<rte_mbuf*>(frame) : nullptr;
    }

  private:
    struct Free {
        void operator()(rte_ring* ring) const noexcept { std::free(ring); }
    };
    using Ring = std::unique_ptr<rte_ring, Free>;

    static Ring make_ring(const char* name) {
        Ring ring(static_cast<rte_ring*>(
            std::aligned_alloc(RTE_CACHE_LINE_SIZE, static_cast<std::size_t>(rte_ring_get_memsize(kSlots)))));
        if (!ring || rte_ring_init(ring.get(), name, kSlots, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
            std::abort();
        return ring;
    }
    static std::uint16_t receive(void* queue, rte_mbuf** frames, std::uint16_t count) {
        return static_cast<std::uint16_t>(rte_ring_sc_dequeue_burst(
            static_cast<rte_ring*>(queue), reinterpret_cast<void**>(frames), count, nullptr));
    }
    static std::uint16_t send(void* queue, rte_mbuf** frames, std::uint16_t count) {
        return static_cast<std::uint16_t>(rte_ring_sp_enqueue_burst(
            static_cast<rte_ring*>(queue), reinterpret_cast<void* const*>(frames), count, nullptr));
    }
    struct rte_eth_fp_ops& fast_path() const {
        return ::rte_eth_fp_ops[ethdev_];
    }

    std::uint16_t ethdev_;
    struct rte_eth_fp_ops saved_;
    std::array<Ring, kQueues> in_, out_;
    std::array<void*, kQueues> rx_data_{}, tx_data_{}, callbacks_{};
};

}  // namespace weir::test
