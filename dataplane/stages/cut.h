// cut: ends the known TCP flows of a backend whose record says `cut` (its deadline has passed, or it has died
// and its flows are to be reset), each with the next packet that its client sends.
//
// Exits: the client's packet as a RST to the backend (selected, as any packet that select_backend sends), or
// the drop flow_cut where the backend cannot be reached; and in either case a RST to the client.
//
// Theory of operation. weir sees the client's segments only, and a segment is all that is needed. From the
// VIP the client gets RFC 9293 3.10.7.1's answer to it: SEQ = SEG.ACK or, without an ACK, SEQ = 0 and
// ACK = SEG.SEQ + SEG.LEN; it leaves by the port that the segment came by, to the MAC that it came from. The
// segment itself becomes the client's RST to the backend: SEQ stays SEG.SEQ, which is what the backend
// expects next (RFC 5961 3.2); IP options and extension headers stay, TCP options and payload go. From there
// on it is a packet like any other, in the backend's forwarding mode.
//
// A RST of the client's own goes to the backend as it is and ends the flow. A SYN, or a datagram, begins a
// flow elsewhere: that is select_backend's.
//
// Invariant: the entry goes with the packet that ends the flow. So weir sends at most one RST for a packet
// that it receives, one for each flow that the table knew, and a sender can neither draw a second one nor one
// for a flow that it makes up. What else the client has under way is a packet of an unknown flow, and the
// backend that it goes to answers it with a RST of its own.
#pragma once

#include <cstdint>

#include "dataplane/burst.h"
#include "dataplane/ids.h"
#include "dataplane/stages/originated.h"
#include "dataplane/state/flow_table.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

struct SelectionContext;

// The RST that answers a client's TCP segment, from the VIP. The segment stays as it is.
void reset_client(const Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                  OriginatedBuffer& resets, WorkerCounters& counters) noexcept;

// A packet whose flow has the entry, which is not honoured. False, and nothing is done, unless the packet
// ends the flow; else both are dealt with.
bool cut_flow(Burst& burst, std::uint32_t i, const SelectionContext& context, FlowRef entry) noexcept;

}  // namespace weir
