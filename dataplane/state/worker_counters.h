// What one worker counts. One writer: that worker. The control core reads and sums over workers.
//
// Counters by service and by backend lie in one array each, as long as there can be ids. Its memory is only
// reserved; the control core makes those of an id exist *before* it publishes a snapshot that has the id
// (ensure), so that a worker finds every counter it can need, by one addition, and takes no page fault. An id
// keeps its counters, also over a removal.
//
// Accounting (DESIGN.md section 10): received = forwarded + answered + punted + sum(dropped), exactly, over
// all workers, once their transmit buffers and the rings between them are empty (a packet that travels is
// received by one worker and may get its verdict from another); transmitted = forwarded + answered +
// originated + host_tx.
#pragma once

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <type_traits>

#include "dataplane/ids.h"
#include "dataplane/net/drop_reason.h"
#include "dataplane/net/punt_class.h"
#include "dataplane/state/counter.h"
#include "dataplane/state/session.h"

namespace weir {

struct ServiceCounters {
    Counter packets;  // classified to the service, dropped ones included
    Counter bytes;    // of their IP packets, as received
    Counter new_flows;
    Counter active_flows;  // entries in this worker's flow table
    std::array<Counter, kServiceDropReasons> dropped;
};

struct BackendCounters {
    Counter packets;  // sent to the backend (given to the transmit buffer)
    Counter bytes;    // of their IP packets as received, tunnel headers not counted
    Counter new_flows;
    Counter active_flows;
    // Signs of trouble, seen in the client's packets: a SYN again on a flow that has got no further (the
    // backend, or its answer, is silent), and a RST on one that was opening or established.
    Counter syn_repeats, client_resets;
};

// T by id. Reserves the memory for kIds of them and touches only what is made to exist.
template <class T, std::uint32_t kIds>
class CounterArray {
  public:
    CounterArray() : cells_(static_cast<T*>(std::aligned_alloc(64, (kIds * sizeof(T) + 63) / 64 * 64))) {
        if (!cells_) std::abort();  // address space, not memory: there is no going on
    }

    // Control core, before it publishes: makes those of ids below `ids` exist.
    void ensure(std::uint32_t ids) noexcept {
        const std::uint32_t existing = existing_.load(std::memory_order_relaxed);
        for (std::uint32_t id = existing; id < ids; ++id) std::construct_at(&cells_.get()[id]);
        if (ids > existing) existing_.store(ids, std::memory_order_release);
    }
    // Precondition: ensured.
    [[nodiscard]] T& operator[](std::uint32_t id) const noexcept { return cells_.get()[id]; }
    // Any thread.
    [[nodiscard]] bool has(std::uint32_t id) const noexcept {
        return id < existing_.load(std::memory_order_acquire);
    }

  private:
    static_assert(std::is_trivially_destructible_v<T>);
    struct Free {
        void operator()(T* cells) const noexcept { std::free(cells); }
    };
    std::unique_ptr<T, Free> cells_;
    std::atomic<std::uint32_t> existing_{0};
};

// What weir sends of its own accord: what the host thread brings, in the order of OutgoingKind
// (drivers/host_rings.h), whose first value is the kernel's; then the workers' own.
inline constexpr std::array kOriginatedKindNames = {
    std::string_view{"garp"},       std::string_view{"neighbor_advertisement"},
    std::string_view{"rst"},        std::string_view{"probe"},
    std::string_view{"icmp_error"}, std::string_view{"fragment"}};
inline constexpr std::size_t kOriginatedKinds = kOriginatedKindNames.size();
inline constexpr std::size_t kOriginatedRst = 2, kOriginatedProbe = 3;  // probe: through a VIP
inline constexpr std::size_t kOriginatedIcmpError = 4,
                             kOriginatedFragment = 5;  // fragment: all but the first

struct alignas(64) WorkerCounters {
    Counter received, forwarded, answered, punted;
    std::array<Counter, kDropReasons> dropped;

    Counter flow_entries;  // live or not yet swept
    Counter flow_inserts;
    Counter flow_evictions;  // unconfirmed flows that made room
    Counter flow_full;       // new flows forwarded by hash alone
    Counter flow_sweeps;     // completed sweeps of all its tables: BackendIds are reused by it

    Counter sticky_entries;  // clients, live or not yet swept
    Counter sticky_inserts;
    Counter sticky_evictions;    // clients of one flow that made room
    Counter sticky_full;         // new clients without an entry: by hash until there is room
    Counter sticky_bypassed;     // new flows by hash alone: the owner's ring was full
    Counter sticky_handed_over;  // packets to the worker that decides for their client
    Counter sessions;            // translated flows, live or not yet swept; each has one SNAT port
    Counter session_inserts;
    Counter session_evictions;                          // sessions that gave way in a full table
    Counter snat_ports_taken_over;                      // ports whose sessions gave way, as no other was left
    Counter replies;                                    // of backends, translated back
    Counter replies_handed_over, requests_handed_over;  // to the worker that has their session
    Counter identities_sent;    // packets of clients that carry a PROXY header or a toa option
    Counter toa_left_out;       // packets that were to carry a toa option, and had no room for it
    Counter toa_removed;        // packets of clients that had brought a toa option
    Counter packets_in_flight;  // in this worker's ring, as it last saw it

    Counter loops;                // heartbeat
    Counter busy_tsc, idle_tsc;   // TSC cycles of loops with and without a packet
    Counter sleeps, asleep_tsc;   // of idle_tsc: how often it slept, and how long
    Counter snapshot_generation;  // of the snapshot that this worker uses

    std::array<Counter, kPuntClasses> punted_by_class, punt_limited;
    // From the kernel, by port. Refused: the device was full, or a probe's backend has no next hop.
    std::array<Counter, kMaxPorts> host_tx, host_tx_refused;
    std::array<Counter, kMaxSnatAddresses> snat_ports;  // in use, by SnatId: once for each endpoint
    // By port: of the first frames, those that the NIC has hashed and brought as weir computes, and others.
    std::array<Counter, kMaxPorts> rss_as_computed, rss_otherwise;
    // Lost, of the workers' own: no mbuf, or the device was full or its port disabled.
    std::array<Counter, kOriginatedKinds> originated, originated_lost;

    CounterArray<ServiceCounters, kMaxServices> services;
    CounterArray<BackendCounters, kMaxBackends> backends;

    void drop(DropReason reason) noexcept { dropped[static_cast<std::size_t>(reason)].add(1); }
};

}  // namespace weir
