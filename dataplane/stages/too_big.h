// What becomes of a backend's reply (modes nat and dnat) that is too long for the client's port.
//
// Who has forbidden to fragment it, as TCP does, is told what would fit: "fragmentation needed" (RFC 1191) or
// "packet too big" (RFC 4443 3.2), and sends shorter packets from then on; the packet is dropped. An IPv4
// packet that may be fragmented and becomes an IPv6 one (NAT64) is: RFC 7915 4.
//
// The worker that holds the packet.
#pragma once

#include <cstdint>

#include "dataplane/burst.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/originated.h"

namespace weir {

// IPv4: DF is clear.
[[nodiscard]] inline bool may_be_fragmented(const Ipv4Header& ip) noexcept {
    return (ip.fragment.value() & Ipv4Header::kDontFragment) == 0;
}

// The ICMP error to whoever has sent the packet, which stays as it is; `mtu` is what would fit. Not where the
// packet may be fragmented. Callers limit its rate (RFC 4443 2.4).
void tell_too_big(const Burst& burst, std::uint32_t i, std::uint32_t mtu, const ForwardingSnapshot& world,
                  OriginatedBuffer& originated, WorkerCounters& counters) noexcept;

// An IPv6 packet, ready to leave by `exit`, in fragments of at most `mtu` bytes: the first one takes its
// place in the burst. False, and the packet is as it was: no room, or no mbuf.
[[nodiscard]] bool fragment_ipv6(Burst& burst, std::uint32_t i, std::uint32_t mtu,
                                 std::uint32_t identification, PortId exit,
                                 OriginatedBuffer& originated) noexcept;

}  // namespace weir
