// The packet's route. Read this first.
//
//   receive -> parse -> classify -> select_backend -> rewrite -> transmit        (or answer, punt, drop)
//
// On a device with VLAN ports untag.h comes behind receive, and transmit puts the tags back: between them all
// frames are untagged.
// For nearly all packets stages/plain.h does parse and classify in one.
//
// A Pipeline is one worker's: its flow table, its counters, its transmit buffers. It is all that a packet
// touches besides the snapshot, and it knows neither threads nor devices: `weir run` feeds it from NIC queues
// (worker.cc), `weir replay` from captures (simulation.cc), tests from mbufs of their own.
//
// Only the worker that owns it may call it.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/net/aes_hash.h"
#include "dataplane/stages/cut.h"
#include "dataplane/stages/nat.h"
#include "dataplane/stages/punt.h"
#include "dataplane/stages/sticky.h"
#include "dataplane/stages/transmit.h"
#include "dataplane/state/flow_clock.h"
#include "dataplane/state/flow_table.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

class Pipeline {
  public:
    // `memory` for the flow table: FlowTable::bytes_for(flows), zeroed. `flow_hash_key` is this worker's own,
    // random unless results must repeat. What `punt` points at outlives the pipeline.
    Pipeline(std::span<std::byte> memory, const HashKey& flow_hash_key, WorkerCounters& counters,
             const PuntPath& punt = {}, const StickySpec& sticky = {}, const NatSpec& nat = {}) noexcept
        : flows_(memory),
          flow_hash_key_(flow_hash_key),
          counters_(counters),
          punt_(punt),
          sticky_(sticky, counters),
          nat_(nat, counters) {}

    // Takes the burst's packets through every stage. Afterwards each is in a transmit buffer, in that of the
    // punted, in another worker's ring, or freed.
    void run(Burst& burst, const ForwardingSnapshot& world, Tick now) noexcept;

    // Empties the transmit buffers, and behind them that of what weir sends beside: wire_of(PortId) gives the
    // wire of a port, which takes the port's VLAN tags too; it is not asked for that of a disabled one.
    template <class WireOf>
    void flush(const ForwardingSnapshot& world, WireOf&& wire_of) noexcept {
        for (std::size_t port = 0; port < world.ports.size(); ++port) {
            if (tx_[port].empty()) continue;
            if (!world.ports[port].enabled) [[unlikely]] {
                tx_[port].discard(counters_);
                continue;
            }
            if (world.ports[port].vlan.any()) [[unlikely]]
                tx_[port].tag(world.ports[port].vlan);
            tx_[port].flush(wire_of(static_cast<PortId>(port)), counters_);
        }
        if (!originated_.empty()) [[unlikely]]
            originated_.flush(world, wire_of, counters_);
    }

    // Empties the buffer of the punted: to the rings of the host thread, or what stands for them.
    template <class Host>
    void hand_up(Host&& host) noexcept {
        if (!punted_.empty()) [[unlikely]]
            punted_.flush(host, counters_);
    }

    // What has come by this worker's ring: answers who asks, and calls run_burst(Burst&), which is to run()
    // and flush() it, for what is to be forwarded from here.
    template <class RunBurst>
    void take_over(std::span<rte_mbuf*> packets, const ForwardingSnapshot& world, Tick now,
                   RunBurst&& run_burst) noexcept {
        const std::uint32_t kept = sticky_.answer(packets, world, now);
        for_returned(packets.first(kept), world, run_burst);
    }

    // Ages a few buckets of the tables: expired flows and clients go, and those of absent backends and
    // services.
    void sweep(const ForwardingSnapshot& world, Tick now, std::uint32_t buckets) noexcept;
    // All of them.
    void sweep_all(const ForwardingSnapshot& world, Tick now) noexcept {
        const auto& clients = sticky_.table();
        const auto sessions = static_cast<std::uint32_t>(nat_.sessions().entries());
        sweep(world, now, flows_.buckets() + (clients ? clients->buckets() : 0) + sessions);
    }

    [[nodiscard]] const FlowTable& flows() const noexcept { return flows_; }
    // Sessions that it has room for.
    [[nodiscard]] std::uint64_t session_capacity() const noexcept { return nat_.sessions().capacity(); }
    // Clients that this worker has room for.
    [[nodiscard]] std::uint64_t sticky_capacity() const noexcept {
        return sticky_.table() ? sticky_.table()->capacity() : 0;
    }

  private:
    void sweep_clients(const ForwardingSnapshot& world, Tick now, std::uint32_t buckets) noexcept;
    [[nodiscard]] std::uint32_t left_of_table() const noexcept;
    void sweep_table(const ForwardingSnapshot& world, Tick now, std::uint32_t buckets) noexcept;
    void next_table() noexcept;

    FlowTable flows_;
    HashKey flow_hash_key_;
    WorkerCounters& counters_;
    TxBuffers tx_;
    OriginatedBuffer originated_;
    PuntPath punt_;
    PuntBuffer punted_;
    StickyPart sticky_;
    NatPart nat_;
    // One sweep: all of the flow table, then all of the clients and of the sessions if there are any.
    enum class Sweeping : std::uint8_t { flows, clients, sessions };
    std::uint64_t sweeps_ = 0;
    Sweeping sweeping_ = Sweeping::flows;
    // Owners of entries go only with a change of the world: the sweep looks for them for as long after one.
    std::uint64_t swept_generation_ = 0, looks_for_gone_until_ = 0;
};

}  // namespace weir
