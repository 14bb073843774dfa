// Netlink messages -> plain values. Every function takes a message of its own kind. The control thread.
#pragma once

#include <netlink/msg.h>

#include <optional>
#include <string>

#include "ctrl/kernel/kernel_ways.h"

namespace weir {

struct LinkNotice {
    InterfaceIndex interface {};
    std::string name;
    bool is_running = false;  // up, with a carrier
};
struct AddressNotice {
    InterfaceIndex interface {};
    KernelAddress address;
};
struct NeighborNotice {
    InterfaceIndex interface {};
    IpAddress address;
    std::uint16_t state = 0;        // NUD_*; 0 if the entry is gone
    std::optional<MacAddress> mac;  // absent while the kernel has none
    bool is_managed = false;        // NTF_EXT_MANAGED
};

// Absent: a bridge's or another family's view of an interface.
[[nodiscard]] std::optional<LinkNotice> read_link(nl_msg& message);
// Absent: not IP, or an address that another host has (IPv6 duplicate address detection failed).
[[nodiscard]] std::optional<AddressNotice> read_address(nl_msg& message);
// Absent: not of the main table, or not one that packets to a backend could take (local, multicast, a TOS, a
// source prefix, or cached by the kernel for itself).
[[nodiscard]] std::optional<KernelRoute> read_route(nl_msg& message);
// Absent: not IP, or a proxy entry. Allocates nothing: a storm of them passes through here.
[[nodiscard]] std::optional<NeighborNotice> read_neighbor(nl_msg& message);

// What a neighbour is after a message of its. A MAC is kept until the kernel says FAILED: an entry that is
// removed or asked for anew says nothing about it.
[[nodiscard]] KernelNeighbor next_neighbor(const KernelNeighbor& before, const NeighborNotice& message);

}  // namespace weir
