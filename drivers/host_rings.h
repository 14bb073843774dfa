// The two rings between one worker and the host thread (host_thread.h): frames for the kernel go up in one,
// what the kernel and the control core send comes down in the other. Each has one writer and one reader, so
// neither side ever waits for the other: a full ring is an answer.
//
// Whoever takes a frame owns it. Only mbufs cross, no pointer into a snapshot.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <cstdint>
#include <memory>
#include <span>

#include "drivers/host_wake.h"
#include "drivers/result.h"

namespace weir {

// Why a frame that did not come in by a port goes out by one. In mbuf->hash.usr on its way down.
enum class OutgoingKind : std::uint32_t { host, garp, neighbor_advertisement };  // host: the kernel's

class HostRings {
  public:
    // Frames that each of the two rings holds; MbufPools must have them to spare
    // (PoolDemand::held_per_worker).
    static constexpr std::uint32_t kFrames = 256;

    // Named "weir_punt_<worker>" and "weir_host_<worker>" in DPDK. Error: no memory. Control core.
    [[nodiscard]] static Result<HostRings> make(unsigned worker);

    HostRings(HostRings&&) noexcept = default;
    HostRings& operator=(HostRings&&) = delete;
    // Frees the frames that nobody took. The worker and the host thread have stopped.
    ~HostRings();

    // Whom punt() wakes; null (nobody) until it is called. Before the worker runs.
    void set_wake(HostWake* wake) noexcept { wake_ = wake; }

    // --- the worker

    // Hands frames up, and wakes the host thread if it sleeps; mbuf->port is the index of the port by which
    // each came. How many were taken, from the front; the rest stays the caller's (ring full).
    [[nodiscard]] std::uint32_t punt(std::span<rte_mbuf*> frames) noexcept {
        const std::uint32_t taken = put(*punted_, frames);
        if (wake_ != nullptr && wake_->asleep()) wake_->wake();
        return taken;
    }
    // How many it would take.
    [[nodiscard]] std::uint32_t punt_room() const noexcept { return kFrames - held(*punted_); }
    // What has come down; mbuf->port is the index of the port to send it by, mbuf->hash.usr an OutgoingKind.
    [[nodiscard]] std::uint32_t take(std::span<rte_mbuf*> frames) noexcept { return get(*outgoing_, frames); }

    // --- the host thread

    [[nodiscard]] std::uint32_t take_punted(std::span<rte_mbuf*> frames) noexcept {
        return get(*punted_, frames);
    }
    [[nodiscard]] bool has_punted() const noexcept { return held(*punted_) != 0; }
    // A frame sent now finds room.
    [[nodiscard]] bool has_room() const noexcept { return held(*outgoing_) < kFrames; }
    // False: the ring is full and the frame stays the caller's.
    [[nodiscard]] bool send(rte_mbuf* frame) noexcept { return put(*outgoing_, {&frame, 1}) == 1; }

  private:
    struct FreeRing {
        void operator()(rte_ring* ring) const noexcept { rte_ring_free(ring); }
    };
    using Ring = std::unique_ptr<rte_ring, FreeRing>;

    HostRings(Ring punted, Ring outgoing) noexcept
        : punted_(std::move(punted)), outgoing_(std::move(outgoing)) {}

    // rte_ring_count() with loads that a sanitizer knows for atomic.
    static std::uint32_t held(const rte_ring& ring) noexcept {
        const std::uint32_t produced = __atomic_load_n(&ring.prod.tail, __ATOMIC_RELAXED);
        return (produced - __atomic_load_n(&ring.cons.tail, __ATOMIC_RELAXED)) & ring.mask;
    }
    static std::uint32_t put(rte_ring& ring, std::span<rte_mbuf*> frames) noexcept {
        return rte_ring_sp_enqueue_burst(&ring, reinterpret_cast<void* const*>(frames.data()),
                                         static_cast<unsigned>(frames.size()), nullptr);
    }
    static std::uint32_t get(rte_ring& ring, std::span<rte_mbuf*> frames) noexcept {
        return rte_ring_sc_dequeue_burst(&ring, reinterpret_cast<void**>(frames.data()),
                                         static_cast<unsigned>(frames.size()), nullptr);
    }

    Ring punted_, outgoing_;
    HostWake* wake_ = nullptr;
};

}  // namespace weir
