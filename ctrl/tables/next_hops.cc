#include "ctrl/tables/next_hops.h"

namespace weir {
namespace {

// Ports, neighbors and routes; of ports of which the kernel decides, nothing but their place.
std::unique_ptr<const Config> copy_of_ways(const Config& config, const KernelWays* kernel) {
    auto ways = std::make_unique<Config>();
    ways->ports = config.ports;
    ways->neighbors = config.neighbors;
    ways->routes = config.routes;
    if (kernel == nullptr) return ways;
    for (std::size_t i = 0; i < ways->ports.size(); ++i) {
        PortConfig& port = ways->ports[i];
        if (!kernel->has_host(PortId{static_cast<std::uint8_t>(i)})) continue;
        port.addresses.clear();
        std::erase_if(ways->neighbors, [&](const NeighborConfig& entry) { return entry.port == port.name; });
        std::erase_if(ways->routes, [&](const RouteConfig& entry) { return entry.port == port.name; });
    }
    return ways;
}

NextHop hop_of(const KernelWay& way) {
    NextHop hop;
    hop.by_kernel = true;
    hop.reachable = way.problem == WayProblem::none;
    if (!hop.reachable) return hop;
    hop.port = way.port;
    hop.address = way.hop;
    hop.on_link = way.on_link;
    hop.has_source = way.source.has_value();
    if (way.source) hop.source = *way.source;
    hop.resolved = way.neighbor != nullptr && way.neighbor->resolved;
    if (hop.resolved) hop.mac = way.neighbor->mac;
    return hop;
}

}  // namespace

std::vector<IpAddress> own_addresses(PortId port, const PortConfig& config, const KernelWays* kernel) {
    std::vector<IpAddress> addresses;
    if (kernel != nullptr && kernel->interface_of(port).index != InterfaceIndex::none)
        for (const KernelAddress& own : kernel->interface_of(port).addresses)
            addresses.push_back(own.prefix.address);
    else
        for (const IpPrefix& own : config.addresses) addresses.push_back(own.address);
    return addresses;
}

MacAddress derived_mac(const IpAddress& address) {
    const auto& bytes = address.bytes();
    if (address.is_v4()) return {{0x02, 0x00, bytes[0], bytes[1], bytes[2], bytes[3]}};
    std::uint32_t hash = 0x811c9dc5;
    for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x01000193;
    return {{0x06, 0x00, static_cast<std::uint8_t>(hash >> 24), static_cast<std::uint8_t>(hash >> 16),
             static_cast<std::uint8_t>(hash >> 8), static_cast<std::uint8_t>(hash)}};
}

NextHops::NextHops(const Config& config, bool derive_unknown_macs, const KernelWays* kernel)
    : world_(copy_of_ways(config, kernel)), egress_(*world_), derive_(derive_unknown_macs), kernel_(kernel) {}

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
    if (kernel_ == nullptr) return find_in_file(destination, egress);
    const KernelWay way = kernel_->find(destination);
    const bool out_of_a_port = way.problem == WayProblem::none;
    const bool file_wins =
        egress.port != nullptr && (!out_of_a_port || egress.prefix_length > way.prefix_length);
    return file_wins ? find_in_file(destination, egress) : hop_of(way);
}

std::string NextHops::why_not(const IpAddress& destination) const {
    return kernel_ == nullptr ? "no neighbors entry, port address or route leads there"
                              : kernel_->why_not(destination);
}

NextHop NextHops::find_in_file(const IpAddress& destination, const Egress& egress) const {
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
