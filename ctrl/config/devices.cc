#include "ctrl/config/devices.h"

#include <algorithm>
#include <cctype>
#include <map>

namespace weir {

std::string device_name(const PortConfig& port) {
    std::string name = port.device.substr(0, port.device.find(','));
    if (name.size() == 7 && name[2] == ':' && name[5] == '.') name.insert(0, "0000:");
    if (name.size() == 12 && name[4] == ':')
        std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    return name;
}

bool is_network(std::string_view device) {
    const bool virtual_device = device.starts_with("net_") || device.starts_with("eth_");
    const bool kernels = device.starts_with("net_af_packet") || device.starts_with("net_af_xdp");
    return !device.empty() && (!virtual_device || kernels);
}

std::vector<DeviceConfig> devices_of(const Config& config) {
    std::vector<DeviceConfig> devices;
    std::map<std::string, std::size_t> known;
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        const PortConfig& port = config.ports[i];
        const auto [at, is_new] = known.emplace(device_name(port), devices.size());
        if (is_new) devices.emplace_back();
        DeviceConfig& device = devices[at->second];
        device.ports.push_back(i);
        if (!device.mac) device.mac = port.mac;
        device.mtu = std::max(device.mtu, port.mtu);
        device.tag_bytes = std::max(device.tag_bytes, static_cast<std::uint16_t>(port.vlan.bytes()));
    }
    return devices;
}

const DeviceConfig& device_of(const std::vector<DeviceConfig>& devices, std::size_t port) {
    return *std::ranges::find_if(devices, [port](const DeviceConfig& device) {
        return std::ranges::find(device.ports, port) != device.ports.end();
    });
}

}  // namespace weir
