// nat: the modes that translate. In mode nat a client's packet goes to its backend from a SNAT address of
// weir's, in mode dnat from the client's own; the reply goes from the VIP to the client.
//
// Exits: the translated packet (burst.backend says by which port), or the drops no_session, no_snat_port,
// session_full, unsolicited, reply_too_big, no_headroom and not_vip, and those of client_identity.h; or
// burst.handed_over. On no_snat_port the client may get a RST (ports[].snat.exhausted).
//
// Theory of operation. select_backend has chosen, as for any mode; what a session adds is the SNAT port, and
// the way back. A session is made by a SYN or a datagram only, and found by its whole tuples. It is held by
// the worker to which a NIC's RSS brings its replies: one function of the reply's tuple, the same for NIC and
// software, on any NIC, or none. In mode nat that is the worker which has the client's packets: the SNAT port
// is chosen so (tables/snat_ports.h). In mode dnat there is nothing to choose, so the client's packets travel
// to it by ring, and 1 - 1/workers of them do; the replies, which are most of the bytes, do not. Who receives
// a reply that is another's computes the same function and hands it over. A reply goes to the MAC that its
// client's last packet came from, by the port that it came by: no route is asked for, and what came by one
// router goes back by it.
//
// Addresses, ports and checksums change, from an IPv6 client to an IPv4 backend the IP header too
// (rewrite_nat.h). Nothing can go round: a packet is translated only to a backend, and one from a backend
// only where a session waits for it.
//
// The worker that owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/burst.h"
#include "dataplane/stages/originated.h"
#include "dataplane/state/punt_limits.h"
#include "dataplane/state/session_table.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/forwarding_snapshot.h"
#include "dataplane/worker_rings.h"

namespace weir {

struct NatSpec {
    std::span<std::byte> memory{};  // SessionTable::bytes_for(sessions), zeroed; empty: no mode nat
    HashKey key = HashKey::zero();  // random unless results must repeat
    std::uint32_t worker = 0;
    WorkerRings* rings = nullptr;  // null: it is the only one
};

struct NatContext {
    const ForwardingSnapshot& world;
    OriginatedBuffer& originated;
    Tick now;
};

class NatPart {
  public:
    NatPart(const NatSpec& spec, WorkerCounters& counters) noexcept;

    [[nodiscard]] bool is_on() const noexcept { return sessions_.capacity() != 0; }
    // Where the session of a client's packet goes, or kNoBackend.
    [[nodiscard]] BackendId backend_of(const Burst& burst, std::uint32_t i, Tick now) noexcept;
    // Instead of select_backend, for packets of clients that have come to the worker of their session: the
    // backend is the session's, else the one that was chosen where the packet came in (burst.pin).
    void select_bound(Burst& burst, const NatContext& context) noexcept;
    // Whether there is anything to translate: what a backend was chosen for in these modes, and replies.
    [[nodiscard]] static bool has_any(const Burst& burst) noexcept {
        return !burst.selected[Burst::list_of(RewritePath::nat, Family::v4)].empty() ||
               !burst.selected[Burst::list_of(RewritePath::nat, Family::v6)].empty() ||
               !burst.replies.empty();
    }
    // All of it.
    void translate(Burst& burst, const NatContext& context) noexcept;
    // Looks at so many sessions; at whose backends are gone only if told to.
    void sweep(const ForwardingSnapshot& world, Tick now, std::uint32_t records,
               bool looks_for_gone) noexcept;

    [[nodiscard]] const SessionTable& sessions() const noexcept { return sessions_; }

  private:
    // SNAT ports that are looked at for one new flow, of them the first for a free one only; and endpoints
    // that are known to have none left.
    static constexpr std::uint32_t kPortTries = 4'096, kFreeLooks = 64, kExhausted = 256;
    struct Exhausted {
        std::uint32_t tag = 0;
        Tick when{};
    };

    // Of the packets' tuples, by their place in the burst.
    using Hashes = std::array<std::uint64_t, kBurstSize>;

    static void refuse(Burst& burst) noexcept;
    void seek(const Burst& burst, const ForwardingSnapshot& world, Hashes& hashes) const noexcept;
    template <class F>
    void send(Burst& burst, std::uint32_t i, const NatContext& context, std::uint64_t hash) noexcept;
    template <class F>
    void send_back(Burst& burst, std::uint32_t i, const NatContext& context, std::uint64_t hash) noexcept;
    template <class F>
    [[nodiscard]] Session* session_for(Burst& burst, std::uint32_t i, const NatContext& context,
                                       std::uint64_t hash) noexcept;
    template <class F>
    Session* begin(Burst& burst, std::uint32_t i, const NatContext& context, const NatTarget& target,
                   const ClientTuple& client) noexcept;
    void take_over(Session& holder) noexcept;
    [[nodiscard]] std::uint16_t find_port(ReplyTuple reply, const SnatPorts& ports, std::uint32_t constant,
                                          std::uint64_t start, const NatContext& context) noexcept;
    [[nodiscard]] bool take_tuple(Session& session, const PortRecord& egress,
                                  const NatContext& context) noexcept;
    template <class B>
    [[nodiscard]] bool take_port(Session& session, const PortRecord& egress,
                                 const NatContext& context) noexcept;
    template <class F>
    void forward(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                 const Session& session) noexcept;
    template <class F>
    void return_to_client(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                          const Session& session) noexcept;
    template <class F>
    [[nodiscard]] bool fits(const Burst& burst, std::uint32_t i, const NatContext& context,
                            const Session& session) noexcept;
    template <class F>
    [[nodiscard]] bool is_anothers(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world) noexcept;
    template <class F>
    void turn_away(Burst& burst, std::uint32_t i, const PortRecord& port, SnatId snat) noexcept;
    void hand_over(Burst& burst, std::uint32_t i, std::uint16_t owner, HandOver note) noexcept;
    void count_end(const Session& session) noexcept;
    void forget(Session& session) noexcept;

    SessionTable sessions_;
    std::uint32_t worker_;
    WorkerRings* rings_;
    WorkerCounters& counters_;
    TokenBucket too_big_errors_{1'000, 100};
    std::uint16_t identification_ = 0;  // of the last IPv4 packet that was made of an IPv6 one
    std::array<Exhausted, kExhausted> exhausted_{};
};

}  // namespace weir
