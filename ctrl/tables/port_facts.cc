#include "ctrl/tables/port_facts.h"

#include "ctrl/config/devices.h"
#include "dataplane/net/address_text.h"

namespace weir {

std::vector<PortFacts> offline_port_facts(const Config& config, std::vector<std::string>& assumptions) {
    std::vector<PortFacts> facts;
    const std::vector<DeviceConfig> devices = devices_of(config);
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        const PortConfig& port = config.ports[i];
        const DeviceConfig& device = device_of(devices, i);
        const auto number = static_cast<std::uint8_t>(device.ports.front());
        const MacAddress made_up{{0x02, 'w', 'e', 'i', 'r', number}};
        if (!device.mac)
            assumptions.push_back(
                "port \"" + port.name +
                "\" has no mac in the configuration: it takes frames for any unicast MAC and sends from " +
                to_text(made_up));
        facts.push_back({.mac = device.mac.value_or(made_up),
                         .mtu = port.mtu,
                         .any_destination_mac = !device.mac,
                         .vlan = port.vlan});
    }
    return facts;
}

}  // namespace weir
