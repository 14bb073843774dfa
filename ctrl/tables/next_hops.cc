#include "ctrl/tables/next_hops.h"

namespace weir {
namespace {

std::unique_ptr<const Config> copy_of_ways(const Config& config) {
    auto ways = std::make_unique<Config>();
    ways->ports = config.ports;
    ways->neighbors = config.neighbors;
    ways->routes = config.routes;
    return ways;
}

}  // namespace

MacAddress derived_mac(const IpAddress& address) {
    const auto& bytes = address.bytes();
    if (address.is_v4()) return {{0x02, 0x00, bytes[0], bytes[1], bytes[2], bytes[3]}};
    std::uint32_t hash = 0x811c9dc5;
    for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x01000193;
    return {{0x06, 0x00, static_cast<std::uint8_t>(hash >> 24), static_cast<std::uint8_t>(hash >> 16),
             static_cast<std::uint8_t>(hash >> 8), static_cast<std::uint8_t>(hash)}};
}

NextHops::NextHops(const Config& config, bool derive_unknown_macs)
    : world_(copy_of_ways(config)), egress_(*world_), derive_(derive_unknown_macs) {}

// The port's address in the next hop's own network; else the port's first of the family.
void NextHops::set_source(NextHop& hop, const PortConfig& port, Family family) const {
    for (const IpPrefix& own : port.addresses) {
        if (own.address.family() != family) continue;
        const bool same_network = own.contains(hop.address);
        if (hop.has_source && !same_network) continue;
        hop.source = own.address;
        hop.has_source = true;
        if (same_network) return;
    }
}

NextHop NextHops::find(const IpAddress& destination) const {
    const Egress egress = egress_.find(destination);
    NextHop hop;
    hop.address = egress.route != nullptr ? egress.route->via : destination;
    hop.reachable = egress.port != nullptr;
    hop.on_link = egress.on_link();
    const PortConfig* port = egress.port;
    if (port == nullptr && derive_ && !world_->ports.empty()) {
        port = world_->ports.data();
        hop.on_link = true;
    }
    if (port == nullptr) return hop;
    hop.port = PortId{static_cast<std::uint8_t>(port - world_->ports.data())};
    set_source(hop, *port, destination.family());
    hop.derived = egress.neighbor == nullptr && derive_;
    hop.resolved = egress.neighbor != nullptr || hop.derived;
    if (egress.neighbor != nullptr) hop.mac = egress.neighbor->mac;
    if (hop.derived) hop.mac = derived_mac(hop.address);
    return hop;
}

}  // namespace weir
