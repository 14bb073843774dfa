#include "ctrl/tables/next_hops.h"

#include <algorithm>
#include <optional>

namespace weir {

MacAddress derived_mac(const IpAddress& address) {
    const auto& bytes = address.bytes();
    if (address.is_v4()) return {{0x02, 0x00, bytes[0], bytes[1], bytes[2], bytes[3]}};
    std::uint32_t hash = 0x811c9dc5;
    for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x01000193;
    return {{0x06, 0x00, static_cast<std::uint8_t>(hash >> 24), static_cast<std::uint8_t>(hash >> 16),
             static_cast<std::uint8_t>(hash >> 8), static_cast<std::uint8_t>(hash)}};
}

NextHops::NextHops(const Config& config, bool derive_unknown_macs)
    : derive_(derive_unknown_macs), has_ports_(!config.ports.empty()) {
    const auto port_named = [&](const std::string& name) -> std::optional<PortId> {
        for (std::size_t i = 0; i < config.ports.size(); ++i)
            if (config.ports[i].name == name) return PortId{static_cast<std::uint8_t>(i)};
        return std::nullopt;
    };
    for (std::size_t i = 0; i < config.ports.size(); ++i)
        for (const IpPrefix& prefix : config.ports[i].addresses)
            connected_.push_back({prefix, PortId{static_cast<std::uint8_t>(i)}});
    for (const NeighborConfig& neighbor : config.neighbors)
        if (const auto port = port_named(neighbor.port))
            neighbors_.emplace(neighbor.address, Neighbor{*port, neighbor.mac});
    for (const RouteConfig& route : config.routes)
        if (const auto port = port_named(route.port)) routes_.push_back({route.prefix, route.via, *port});
    std::stable_sort(routes_.begin(), routes_.end(),
                     [](const Route& a, const Route& b) { return a.prefix.length > b.prefix.length; });
}

// Of several ports whose network has the address, the longest prefix, then the file's order.
const NextHops::Connected* NextHops::find_connected(const IpAddress& address) const {
    const Connected* best = nullptr;
    for (const Connected& connected : connected_)
        if (connected.prefix.contains(address) &&
            (best == nullptr || connected.prefix.length > best->prefix.length))
            best = &connected;
    return best;
}

const NextHops::Route* NextHops::find_route(const IpAddress& address) const {
    const auto route = std::ranges::find_if(
        routes_, [&](const Route& candidate) { return candidate.prefix.contains(address); });
    return route == routes_.end() ? nullptr : &*route;
}

// The port's address in the next hop's own network; else the port's first of the family.
void NextHops::set_source(NextHop& hop, Family family) const {
    for (const Connected& connected : connected_) {
        if (connected.port != hop.port || connected.prefix.address.family() != family) continue;
        const bool same_network = connected.prefix.contains(hop.address);
        if (hop.has_source && !same_network) continue;
        hop.source = connected.prefix.address;
        hop.has_source = true;
        if (same_network) return;
    }
}

// Precondition: `address` and `port` are set.
void NextHops::resolve(NextHop& hop) const {
    const auto neighbor = neighbors_.find(hop.address);
    hop.derived = neighbor == neighbors_.end() && derive_;
    hop.resolved = neighbor != neighbors_.end() || hop.derived;
    if (hop.derived) hop.mac = derived_mac(hop.address);
    if (neighbor == neighbors_.end()) return;
    hop.mac = neighbor->second.mac;
    hop.port = neighbor->second.port;
}

NextHop NextHops::find(const IpAddress& destination) const {
    NextHop hop;
    hop.address = destination;
    const auto neighbor = neighbors_.find(destination);
    const Connected* connected = find_connected(destination);
    if (neighbor != neighbors_.end() || connected != nullptr) {
        hop.port = neighbor != neighbors_.end() ? neighbor->second.port : connected->port;
        hop.reachable = hop.on_link = true;
    } else if (const Route* route = find_route(destination)) {
        hop.port = route->port;
        hop.address = route->via;
        hop.reachable = true;
    } else if (!derive_ || !has_ports_) {
        return hop;
    } else {
        hop.on_link = true;
    }
    resolve(hop);
    set_source(hop, destination.family());
    return hop;
}

}  // namespace weir
