// The rings between workers: by them any worker hands any other a packet that is not its own to decide.
//
// Theory of operation. Each worker has one ring, which it alone empties and all others fill. What a packet is
// handed over for stands in the mbuf (HandOver), as ids: the receiver reads its own snapshot. A worker
// empties its ring before it latches the snapshot of the loop, so that a packet never meets an older snapshot
// than it has met: whoever handed it over had latched before, and published snapshots only grow newer. A full
// ring is an answer, never a wait: the packet stays the caller's. Producers do not wait for each other either
// (DPDK's relaxed tail synchronisation): one that loses its CPU half-way delays what stands behind its
// packets, not the others.
//
// A worker that sleeps is woken after a frame was put into its ring (drivers/rx_wait.h: one that is awake
// costs a fence and a load, once a burst). One that stops closes its ring first.
//
// Whoever takes a packet owns it. It was received, and is counted so, by the worker that took it off a port;
// its verdict is given, and counted, by whoever sends or drops it.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>

#include "dataplane/ids.h"
#include "drivers/result.h"
#include "drivers/rx_wait.h"

namespace weir {

// Why a packet travels.
enum class HandOverKind : std::uint8_t {
    client_flow,    // to the owner of its client: it begins a flow, whose backend is wanted
    client_packet,  // the same for a packet that begins none: nothing is noted
    client_choice,  // back to where it came in, with the choice
    reply,          // a backend's, to the worker that has its session
    session,        // a client's in mode dnat, with the choice, to the worker that has its session
};

// What travels with it, where the device has left its RSS hash; mbuf->port is the index of the port by which
// it came in. The frame is untagged (stages/untag.h).
struct HandOver {
    HandOverKind kind;
    std::uint8_t origin;  // the worker that has received it
    ServiceId service;
    BackendId backend = kNoBackend;

    static HandOver of(const rte_mbuf* packet) noexcept {
        HandOver note;
        std::memcpy(static_cast<void*>(&note), &packet->hash, sizeof(note));
        return note;
    }
    void put_on(rte_mbuf* packet) const noexcept { std::memcpy(&packet->hash, this, sizeof(*this)); }
};
static_assert(sizeof(HandOver) == 8 && sizeof(HandOver) <= sizeof(rte_mbuf::hash) && kMaxWorkers <= 256);
static_assert(std::is_trivially_copyable_v<HandOver>);

class WorkerRings {
  public:
    // Packets that each ring holds; MbufPools must have them to spare (PoolDemand::held_per_worker).
    static constexpr std::uint32_t kFrames = 512;
    // What the rings of so many workers hold, for each of them: one worker has nobody to give anything to.
    [[nodiscard]] static constexpr std::uint32_t frames_held(std::uint32_t workers) noexcept {
        return workers > 1 ? kFrames : 0;
    }

    // Named "weir_worker_<worker>" in DPDK. Error: no memory. Control core.
    [[nodiscard]] static Result<std::unique_ptr<WorkerRings>> make(std::uint32_t workers);
    // Frees what nobody took. Every worker has stopped.
    ~WorkerRings();
    WorkerRings(const WorkerRings&) = delete;
    WorkerRings& operator=(const WorkerRings&) = delete;

    [[nodiscard]] std::uint32_t workers() const noexcept { return workers_; }

    // --- any worker

    // Hands over packets whose HandOver is set; `to` is another worker. How many were taken, from the front;
    // the rest stays the caller's.
    [[nodiscard]] std::uint32_t put(std::uint32_t to, std::span<rte_mbuf*> packets) noexcept;

    // --- the worker whose ring it is

    // Producers publish their packets by one 64-bit word, of which DPDK's consumer reads the half that it
    // needs. Read whole, it orders what they wrote by the letter of the memory model, and for TSan.
    [[nodiscard]] std::uint32_t take(std::uint32_t worker, std::span<rte_mbuf*> packets) noexcept {
        rte_ring& ring = *mailboxes_[worker].ring;
        std::remove_cv_t<decltype(ring.rts_prod.tail)> published;
        published.raw = __atomic_load_n(&ring.rts_prod.tail.raw, __ATOMIC_ACQUIRE);
        const std::uint32_t there = published.val.pos - ring.cons.tail;
        const auto count = std::min(there, static_cast<std::uint32_t>(packets.size()));
        if (count == 0) [[likely]]
            return 0;
        return rte_ring_sc_dequeue_burst(&ring, reinterpret_cast<void**>(packets.data()), count, nullptr);
    }
    // What put() is to wake; outlives every other worker's run. Before the worker's own.
    void set_sleeper(std::uint32_t worker, RxWait* sleeper) noexcept {
        mailboxes_[worker].sleeper.store(sleeper, std::memory_order_release);
    }
    // From here on put() refuses, but for those that have begun. What is in the ring is still to be taken.
    void close(std::uint32_t worker) noexcept {
        mailboxes_[worker].closed.store(true, std::memory_order_relaxed);
    }
    [[nodiscard]] bool is_closed(std::uint32_t worker) const noexcept {
        return mailboxes_[worker].closed.load(std::memory_order_relaxed);
    }

    // --- any thread

    // Packets in the ring.
    [[nodiscard]] std::uint32_t held(std::uint32_t worker) const noexcept {
        const rte_ring& ring = *mailboxes_[worker].ring;  // rte_ring_count() with loads known for atomic
        const std::uint32_t taken = __atomic_load_n(&ring.cons.tail, __ATOMIC_RELAXED);
        return __atomic_load_n(&ring.prod.tail, __ATOMIC_RELAXED) - taken;
    }

  private:
    struct alignas(64) Mailbox {
        rte_ring* ring = nullptr;
        std::atomic<RxWait*> sleeper{nullptr};
        std::atomic<bool> closed{false};
    };

    explicit WorkerRings(std::uint32_t workers) noexcept : workers_(workers) {}

    std::uint32_t workers_;
    std::array<Mailbox, kMaxWorkers> mailboxes_;
};

}  // namespace weir
