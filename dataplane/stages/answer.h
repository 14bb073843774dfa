// answer: what weir says itself, in place, out of the port that asked: ARP and neighbour solicitations for a
// VIP (or for weir's own address, where there is no host interface), and echo requests to them.
//
// Exits: burst.answered, burst.for_host (on a port with a host interface: what is not about a VIP), or a
// drop. Never an answer to an answer, to a broken question, or to more than one host.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

void answer(Burst& burst, const ForwardingSnapshot& world) noexcept;

}  // namespace weir
