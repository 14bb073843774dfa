// What the operator wants of a port, as a plain value.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace weir {

using MacBytes = std::array<std::uint8_t, 6>;

struct PortSpec {
    unsigned index = 0;  // in the configuration's order
    std::string name;    // the operator's word for it
    // A PCI address ("0000:00:06.0", with arguments after a comma), a DPDK virtual device
    // ("net_af_packet0,iface=eth1"), or a kernel interface ("eth1", which becomes a net_af_packet).
    std::string device;
    std::optional<MacBytes> mac;  // absent: the device's own
    std::uint16_t mtu = 1500;     // bytes of an IP packet, without Ethernet header and VLAN tags
    // Where other ports lie on the device too (VLANs): the largest mtu of them all, if it is not `mtu`.
    std::uint16_t device_mtu = 0;
    std::uint16_t tag_bytes = 0;  // what VLAN tags take of a frame, beside that
    std::uint16_t queues = 1;     // receive and transmit queues; one of each per worker
    bool rx_interrupts = false;   // ask the device for them: workers sleep until a frame comes
    // Per queue; clamped to what the device has.
    std::uint16_t rx_descriptors = 1024, tx_descriptors = 1024;
};

}  // namespace weir
