// client_identity: tells a backend in mode nat, which sees weir's address, whose packet it is.
//
// Exits: the packet, or the drops too_big, no_headroom and segmented.
//
// Theory of operation. A TCP stream gets a PROXY header in front of the client's bytes, which weir never
// buffers: the header is a pure function of the session, so it is made again whenever it is needed, and no
// timer is. It stands at first_sequence in the backend's sequence space, and the client's first byte behind
// it. Whichever segment begins at first_sequence carries it: the handshake's last ACK (a server that speaks
// first waits for it), what follows from a silent client, the first data and its repetitions, until the
// backend has acknowledged all of it. All else is arithmetic: what the client sends lies identity_length
// higher for the backend, and what the backend acknowledges (SACK blocks too, RFC 2018) so much lower for the
// client, who is never told of a byte that is not its own. Comparisons with first_sequence (RFC 9293 3.4) are
// sound while the header has not arrived: so long nobody can be 2^31 bytes ahead. Afterwards there are none,
// and both spaces wrap as they like.
//
// A header and a full segment fit one packet because the client is told of an MSS that is so much smaller.
//
// A datagram gets a PROXY header of its own. A toa option (kind 254, as Linux's toa modules read it: port,
// then address) goes with what begins at first_sequence until the backend has acknowledged data; where there
// is no room, the packet goes without. What a client brings of such options is overwritten in every segment:
// nobody can say that he is somebody else.
//
// The worker that owns the session.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

#include "dataplane/net/address.h"
#include "dataplane/net/drop_reason.h"
#include "dataplane/state/session.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/backend_table.h"

namespace weir {

// A packet as its backend is to see it, Ethernet header included.
struct OutgoingPacket {
    rte_mbuf* packet;
    const BackendRecord& backend;
    Family family;
    std::uint16_t l4_offset;  // from the IP header
};

// Before note_client(), of each SYN: one that begins the session, or begins it anew, or comes again while
// nobody has answered, says where the client's stream begins, and is told of as `identity` says by now.
void begin_identity(Session& session, ClientIdentity identity, const IpAddress& vip, Be32 sequence) noexcept;

// Each packet of the client's, of a session with an identity.
[[nodiscard]] DropReason tell_backend(Session& session, const OutgoingPacket& out, const IpAddress& vip,
                                      WorkerCounters& counters) noexcept;

// Each of the backend's, of such a session: what the client may see of it.
[[nodiscard]] DropReason hear_backend(Session& session, rte_mbuf* packet, std::uint16_t l4_offset) noexcept;

}  // namespace weir
