// The headers that weir puts before a packet for a backend, ready made.
//
// Constant fields are filled in; those that depend on the packet are zero and are the rewrite stage's:
//   Ethernet  type, in dsr (the packet's own; there header_length is 14 and only the MACs count)
//   IPv4      TOS, total length, identification, flags and fragment offset, protocol (4 or 41 in ipip, 17 in
//             gue), checksum
//   IPv6      traffic class and flow label (the version is there), payload length, next header
//   UDP       source port, length, checksum
//   GUE       protocol (4 or 41)
//
// outer_sum, for the checksum of the outer IPv4 header (RFC 1071 2.B: any byte order will do): the header's
// ten 16-bit words, loaded from memory as they lie (host-endian loads of wire bytes), added, and folded to 16
// bits. The fields above are zero in it, so the rewrite stage adds the words as they lie of what it has
// filled in - {0, tos}, total_length, identification, fragment, {0, protocol} - folds to 16 bits, and stores
// the complement as it is, without a byte swap.
//
// For GUE over IPv6 it is what is constant in the UDP checksum: the addresses and the protocol of the
// pseudo-header, and the destination port. For IPIP over IPv6 and dsr, 0.
#pragma once

#include <optional>

#include "ctrl/tables/next_hops.h"
#include "dataplane/tables/backend_table.h"

namespace weir {

inline constexpr std::uint8_t kOuterTtl = 64;

// What is known of a port once its device is there.
struct PortFacts {
    MacAddress mac{};
    std::uint16_t mtu = 1500;
    bool any_destination_mac = false;  // replay of a port whose device's MAC nobody knows
    bool can_send_chains = true;       // the device takes frames of several mbufs
    VlanTags vlan{};
    friend bool operator==(const PortFacts&, const PortFacts&) = default;
};

// Everything that decides a backend's record, in every mode: equal inputs, equal records.
struct BackendInput {
    PoolId pool{};
    TrafficState state = TrafficState::absent;
    std::optional<ForwardingMode> forwarding;  // the backend's own, or its pool's; else the service's
    IpAddress address;
    std::uint16_t port = 0;  // mode nat: the backend's own; 0: the one that the client has dialled
    ClientIdentity identity = ClientIdentity::none;  // mode nat
    BackendId id = kNoBackend;
    NextHop hop;
    friend bool operator==(const BackendInput&, const BackendInput&) = default;
};

// The record for services of mode `mode`. `port` is the hop's egress port. `resolved` is false where a packet
// could not be sent: no MAC, no address of weir's own for the outer header, or dsr through a router.
// Precondition: the mode in force is built (dataplane/tables/forwarding_mode.h).
[[nodiscard]] BackendRecord make_backend_record(const BackendInput& input, ForwardingMode mode,
                                                const PortFacts& port);

}  // namespace weir
