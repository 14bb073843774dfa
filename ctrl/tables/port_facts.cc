#include "ctrl/tables/port_facts.h"

#include "dataplane/net/address_text.h"

namespace weir {

std::vector<PortFacts> offline_port_facts(const Config& config, std::vector<std::string>& assumptions) {
    std::vector<PortFacts> facts;
    for (const PortConfig& port : config.ports) {
        const auto number = static_cast<std::uint8_t>(facts.size());
        const MacAddress made_up{{0x02, 'w', 'e', 'i', 'r', number}};
        if (!port.mac)
            assumptions.push_back(
                "port \"" + port.name +
                "\" has no mac in the configuration: it takes frames for any unicast MAC and sends from " +
                to_text(made_up));
        facts.push_back(
            {.mac = port.mac.value_or(made_up), .mtu = port.mtu, .any_destination_mac = !port.mac});
    }
    return facts;
}

}  // namespace weir
