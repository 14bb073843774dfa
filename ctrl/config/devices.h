// The devices of a configuration: most have one port, those with VLANs several. Control side, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctrl/config/config.h"

namespace weir {

// What stands before the arguments, spelt one way: "net_null0,size=64" is on "net_null0", "00:06.0" on
// "0000:00:06.0".
[[nodiscard]] std::string device_name(const PortConfig& port);

// A device on a real network, and not a capture, a ring or the like.
[[nodiscard]] bool is_network(std::string_view device);

// What the ports of one device make of it.
struct DeviceConfig {
    std::vector<std::size_t> ports;  // indices of Config::ports, ascending
    std::optional<MacAddress> mac;   // absent: the device's own
    std::uint16_t mtu = 0;           // largest of its ports
    std::uint16_t tag_bytes = 0;     // most of its ports: what VLAN tags take of a frame
};

// In the order of their first ports.
[[nodiscard]] std::vector<DeviceConfig> devices_of(const Config& config);
// The one that port `port` is on.
[[nodiscard]] const DeviceConfig& device_of(const std::vector<DeviceConfig>& devices, std::size_t port);

}  // namespace weir
