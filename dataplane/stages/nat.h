// nat: full NAT. A client's packet goes to its backend from a SNAT address of weir's; the reply goes from the
// VIP to the client.
//
// Exits: the translated packet (burst.backend says by which port), or the drops no_session, no_snat_port,
// session_full, unsolicited and reply_too_big, and those of client_identity.h; or burst.handed_over.
//
// Theory of operation. select_backend has chosen, as for any mode; what a session adds is the SNAT port, and
// the way back. A session is made by a SYN or a datagram only, and found by its whole tuples. Its SNAT port
// is one whose reply a NIC's RSS brings to this worker (tables/snat_ports.h). The same function says to
// whoever receives a reply elsewhere whose it is: that worker gets it by ring, on any NIC, or none. A reply
// goes to the MAC that its client's last packet came from, by the port that it came by: no route is asked
// for, and what came by one router goes back by it.
//
// Addresses, ports and checksums change (RFC 1624), and nothing else; a UDP checksum of 0 stays (RFC 768).
// TTL and hop limit stay: weir is no hop, as in every other mode. Nothing can go round: a packet is
// translated only to a backend, and one from a backend only where a session waits for it.
//
// The worker that owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/burst.h"
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

class NatPart {
  public:
    NatPart(const NatSpec& spec, WorkerCounters& counters) noexcept;

    [[nodiscard]] bool is_on() const noexcept { return sessions_.capacity() != 0; }
    // Where the session of a client's packet goes, or kNoBackend.
    [[nodiscard]] BackendId backend_of(const Burst& burst, std::uint32_t i, Tick now) noexcept;
    // What select_backend has chosen a backend for in mode nat, and burst.replies.
    void translate(Burst& burst, const ForwardingSnapshot& world, Tick now) noexcept;
    // Looks at so many sessions; at whose backends are gone only if told to.
    void sweep(const ForwardingSnapshot& world, Tick now, std::uint32_t records,
               bool looks_for_gone) noexcept;

    [[nodiscard]] const SessionTable& sessions() const noexcept { return sessions_; }

  private:
    // SNAT ports that are looked at for one new flow, and endpoints that are known to have none left.
    static constexpr std::uint32_t kPortTries = 4'096, kExhausted = 256;
    struct Exhausted {
        std::uint32_t tag = 0;
        Tick when{};
    };

    template <class F>
    void send(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, Tick now) noexcept;
    template <class F>
    void send_back(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, Tick now) noexcept;
    template <class F>
    Session* begin(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, const NatTarget& target,
                   const ClientTuple& client, Tick now) noexcept;
    template <class F>
    bool take_port(Session& session, const PortRecord& egress, Tick now) noexcept;
    template <class F>
    [[nodiscard]] Session* session_for(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                                       Tick now) noexcept;
    template <class F>
    void turn_away(Burst& burst, std::uint32_t i, const PortRecord& port) noexcept;
    void forget(Session& session) noexcept;

    SessionTable sessions_;
    std::uint32_t worker_, workers_;
    WorkerRings* rings_;
    WorkerCounters& counters_;
    std::array<Exhausted, kExhausted> exhausted_{};
};

}  // namespace weir
