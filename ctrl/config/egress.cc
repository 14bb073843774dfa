#include "ctrl/config/egress.h"

namespace weir {

EgressFinder::EgressFinder(const Config& config) : config_(config) {
    for (const PortConfig& port : config.ports) ports_.emplace(port.name, &port);
    for (const NeighborConfig& neighbor : config.neighbors) neighbors_.emplace(neighbor.address, &neighbor);
}

const PortConfig* EgressFinder::port_named(std::string_view name) const {
    const auto found = ports_.find(name);
    return found == ports_.end() ? nullptr : found->second;
}

Egress EgressFinder::find(const IpAddress& address) const {
    const auto neighbor_of = [&](const IpAddress& hop) {
        const auto found = neighbors_.find(hop);
        return found == neighbors_.end() ? nullptr : found->second;
    };
    Egress egress;
    egress.neighbor = neighbor_of(address);
    if (egress.neighbor != nullptr) egress.port = port_named(egress.neighbor->port);
    if (egress.port != nullptr) {
        egress.prefix_length = static_cast<int>(address.bit_length());
        return egress;
    }
    int& longest = egress.prefix_length;
    for (const PortConfig& port : config_.ports)
        for (const IpPrefix& prefix : port.addresses)
            if (prefix.length > longest && prefix.contains(address)) {
                longest = prefix.length;
                egress.port = &port;
            }
    for (const RouteConfig& route : config_.routes)
        if (route.prefix.length > longest && route.prefix.contains(address)) {
            const PortConfig* port = port_named(route.port);
            if (port == nullptr) continue;
            longest = route.prefix.length;
            egress.port = port;
            egress.route = &route;
        }
    if (egress.route != nullptr) egress.neighbor = neighbor_of(egress.route->via);
    return egress;
}

}  // namespace weir
