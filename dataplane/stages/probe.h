// probe: what the kernel sends to a VIP as a health probe (via = "vip") goes to the backend that the probe is
// for, by the rewrite of the traffic, past flow table, Maglev and sticky tables, in which it leaves nothing.
//
// It comes from the host thread, not by a queue: it has no verdict, and is no service's nor backend's packet.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/packet.h"
#include "dataplane/state/probe_ports.h"
#include "dataplane/tables/forwarding_snapshot.h"
#include "drivers/host_rings.h"

namespace weir {

// A frame from the host thread that must not go out as it is.
inline bool is_probe(const rte_mbuf* frame) noexcept {
    return static_cast<OutgoingKind>(frame->hash.usr) == OutgoingKind::host &&
           frame->data_len >= sizeof(EthernetHeader) &&
           rte_pktmbuf_mtod(frame, const EthernetHeader*)->destination == kProbeGatewayMac;
}

// Probes that came by one host interface, burst.port's. Those in burst.dropped cannot go: no probe of weir's
// after all, or their backend has no next hop; the others are what burst.backend is to get. `ports` null: no
// probes.
void steer_probes(Burst& burst, const ForwardingSnapshot& world, const ProbePorts* ports) noexcept;

}  // namespace weir
