#include "ctrl/snat_range.h"

#include <fmt/format.h>

#include <fstream>

namespace weir {

Result<void> check_snat_ranges(const Config& config) {
    unsigned first = 0, last = 0;
    if (!(std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first >> last)) return {};
    for (const PortConfig& port : config.ports) {
        const L4PortRange range = port.snat.ports;
        if (port.snat.addresses.empty() || port.host_interface.empty()) continue;
        if (range.last < first || last < range.first) continue;
        return operator_error(fmt::format(
            "{}: port \"{}\": snat.ports {}-{} overlap the ports {}-{} that the kernel uses for its own "
            "connections from the same addresses; choose others, as in \"{}\", or move the kernel's by "
            "sysctl -w net.ipv4.ip_local_port_range=\"1024 32767\", which serves IPv6 too",
            port.snat.where.text(), port.name, range.first, range.last, first, last,
            first > 20'000 ? fmt::format("1024-{}", first - 1) : fmt::format("{}-65535", last + 1)));
    }
    return {};
}

}  // namespace weir
