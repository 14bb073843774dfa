// ports, neighbors, routes.
#include <algorithm>

#include "ctrl/config/config_limits.h"
#include "ctrl/config/devices.h"
#include "ctrl/config/setting_text.h"
#include "ctrl/config/validate_rules.h"
#include "dataplane/ids.h"
#include "dataplane/net/address_text.h"
#include "dataplane/state/session.h"

namespace weir {
namespace {

std::string name_of(const PortConfig& port) { return fmt::format("port {}", in_quotes(port.name)); }

std::string line_of(const PortConfig& port) { return fmt::format("{}:{}", port.where.file, port.where.line); }

// Two packet sockets on one kernel interface would both receive every frame. Empty: the port has none.
std::string kernel_interface(const PortConfig& port) {
    if (port.device.find_first_of(":,") == std::string::npos && !port.device.starts_with("net_") &&
        !port.device.starts_with("eth_"))
        return port.device;
    const std::size_t argument = port.device.find(",iface=");
    if (!port.device.starts_with("net_af_packet") || argument == std::string::npos) return {};
    const std::size_t begin = argument + 7;
    return port.device.substr(begin, port.device.find(',', begin) - begin);
}

void check_own_interface(CheckContext& check, const PortConfig& port,
                         std::map<std::string, const PortConfig*>& seen) {
    const std::string interface = kernel_interface(port);
    if (interface.empty()) return;
    const auto [first, is_new] = seen.emplace(interface, &port);
    if (!is_new)
        check.error(
            port, "device",
            fmt::format("{}: interface {} already serves {} ({}); each device needs its own", name_of(port),
                        in_quotes(interface), name_of(*first->second), line_of(*first->second)));
}

// `others`: the ports before this one on its device. They have VLANs of their own, and else it is one device.
void check_shared_device(CheckContext& check, const PortConfig& port,
                         const std::vector<const PortConfig*>& others) {
    const auto same =
        std::ranges::find_if(others, [&](const PortConfig* other) { return other->vlan == port.vlan; });
    if (same != others.end())
        return check.error(
            port, "device",
            fmt::format("{}: {} {} already serves {} ({}); each port needs its own device, or a vlan of it",
                        name_of(port),
                        port.vlan.any() ? fmt::format("vlan {} of device", to_text(port.vlan)) : "device",
                        in_quotes(device_name(port)), name_of(**same), line_of(**same)));
    const auto arguments = [](const PortConfig& of) {
        return of.device.substr(std::min(of.device.find(','), of.device.size()));
    };
    if (const PortConfig& first = *others.front(); arguments(port) != arguments(first))
        check.error(
            port, "device",
            fmt::format("{}: device {} has other arguments at {} ({}); ports of one device name it alike",
                        name_of(port), in_quotes(device_name(port)), name_of(first), line_of(first)));
    const auto other = std::ranges::find_if(
        others, [&](const PortConfig* with) { return with->mac && port.mac && *with->mac != *port.mac; });
    if (other != others.end())
        check.error(port, "mac",
                    fmt::format("{}: mac {} is not that of {} on the same device ({}); allowed: {}, or none",
                                name_of(port), to_text(*port.mac), name_of(**other), line_of(**other),
                                to_text(*(*other)->mac)));
}

void check_port_addresses(CheckContext& check, const PortConfig& port,
                          std::map<IpAddress, const PortConfig*>& seen) {
    for (const IpPrefix& prefix : port.addresses) {
        const std::string what = fmt::format("{}: address {}", name_of(port), to_text(prefix));
        auto why = why_no_host(prefix.address);
        if (!why) why = why_no_host_here(check.config, prefix.address);
        if (why)
            check.error(port, "addresses", fmt::format("{} {}; allowed: a host's own address", what, *why));
        const auto [first, is_new] = seen.emplace(prefix.address, &port);
        if (!is_new)
            check.error(
                port, "addresses",
                fmt::format("{} stands twice; the first is on {} ({}:{})", what, name_of(*first->second),
                            first->second->where.file, first->second->where.line));
    }
    const bool v6 = std::any_of(port.addresses.begin(), port.addresses.end(),
                                [](const IpPrefix& prefix) { return !prefix.address.is_v4(); });
    if (v6 && port.mtu < kMinMtuV6)
        check.error(port, "mtu",
                    fmt::format("{}: mtu {} is too small for its IPv6 address; allowed: {} to {}",
                                name_of(port), port.mtu, grouped(kMinMtuV6), grouped(kMaxMtu)));
}

// What weir translates to comes back to the port only if the port has the address; and what is both a VIP and
// this would be two things at once.
void check_snat(CheckContext& check, const PortConfig& port) {
    for (const IpAddress& address : port.snat.addresses) {
        const std::string what = fmt::format("{}: snat address {}", name_of(port), to_text(address));
        const bool own = std::ranges::any_of(
            port.addresses, [&](const IpPrefix& prefix) { return prefix.address == address; });
        if (!own)
            check.error(port.snat, "addresses",
                        fmt::format("{} is not among the port's addresses; allowed: one of those", what));
        if (check.vips.contains(address))
            check.error(port.snat, "addresses",
                        fmt::format("{} is also a VIP; allowed: another address", what));
        if (std::ranges::count(port.snat.addresses, address) > 1)
            check.error(port.snat, "addresses", fmt::format("{} stands twice; remove one", what));
    }
}

// Each session names its address by a number of eight bits.
void check_number_of_snat_addresses(CheckContext& check) {
    std::size_t count = 0;
    for (const PortConfig& port : check.config.ports) {
        count += port.snat.addresses.size();
        if (count <= kMaxSnatAddresses) continue;
        return check.error(port.snat, "addresses",
                           fmt::format("{}: {} snat addresses up to here; allowed: at most {} over all ports",
                                       name_of(port), count, kMaxSnatAddresses));
    }
}

// The name is for an interface that weir makes: nobody else's, and not that of a port's own device.
void check_host_interfaces(CheckContext& check) {
    std::map<std::string_view, const PortConfig*> seen;
    for (const PortConfig& port : check.config.ports) {
        if (port.host_interface.empty()) continue;
        const auto [first, is_new] = seen.emplace(port.host_interface, &port);
        if (!is_new)
            check.error(
                port, "host_interface",
                fmt::format("{}: host_interface {} is also that of {} ({}:{}); each port needs its own, "
                            "or \"none\"",
                            name_of(port), in_quotes(port.host_interface), name_of(*first->second),
                            first->second->where.file, first->second->where.line));
        for (const PortConfig& other : check.config.ports)
            if (port.host_interface == other.device || port.host_interface == kernel_interface(other))
                check.error(
                    port, "host_interface",
                    fmt::format("{}: host_interface {} is the device of {}; allowed: the name of a new "
                                "interface",
                                name_of(port), in_quotes(port.host_interface), name_of(other)));
    }
}

}  // namespace

void check_ports(CheckContext& check) {
    const auto& ports = check.config.ports;
    if (ports.empty() && check.scope.reachability)
        check.error(check.config, "ports",
                    "no ports: weir has nothing to receive from; add ports = ( { name = \"edge\"; "
                    "device = \"0000:00:06.0\"; } );");
    if (ports.size() > kMaxPorts)
        check.error(check.config, "ports",
                    fmt::format("{} ports; allowed: at most {}", ports.size(), kMaxPorts));
    check.unique_names(ports, "port", "");
    std::map<std::string, std::vector<const PortConfig*>> devices;
    std::map<std::string, const PortConfig*> interfaces;
    std::map<IpAddress, const PortConfig*> addresses;
    for (const PortConfig& port : ports) {
        auto& on_device = devices[device_name(port)];
        if (on_device.empty())
            check_own_interface(check, port, interfaces);
        else if (!port.device.empty())
            check_shared_device(check, port, on_device);
        on_device.push_back(&port);
        check_port_addresses(check, port, addresses);
        check_snat(check, port);
    }
    check_number_of_snat_addresses(check);
    check_host_interfaces(check);
}

namespace {

// The port that an entry names, or nullptr; an unknown one is reported.
template <class Entry>
const PortConfig* port_of(CheckContext& check, const Entry& entry, const std::string& what) {
    if (entry.port.empty()) return nullptr;
    const auto found = check.ports.find(entry.port);
    if (found != check.ports.end()) return found->second;
    std::vector<std::string_view> names;
    for (const auto& [name, port] : check.ports) names.push_back(name);
    const std::string_view meant = nearest(entry.port, names);
    check.error(entry, "port",
                fmt::format("{}: port {} is not in ports{}", what, in_quotes(entry.port),
                            meant.empty() ? "" : fmt::format("; did you mean {}?", in_quotes(meant))));
    return nullptr;
}

}  // namespace

void check_neighbors(CheckContext& check) {
    std::map<IpAddress, const NeighborConfig*> seen;
    for (const NeighborConfig& neighbor : check.config.neighbors) {
        const std::string what = "neighbor " + to_text(neighbor.address);
        port_of(check, neighbor, what);
        if (const auto why = why_no_host(neighbor.address))
            check.error(neighbor, "address", fmt::format("{} {}; allowed: a host's address", what, *why));
        if (check.own_addresses.contains(neighbor.address))
            check.error(neighbor, "address",
                        fmt::format("{} is weir's own address on port {}", what,
                                    in_quotes(check.own_addresses[neighbor.address]->name)));
        if (check.vips.contains(neighbor.address))
            check.error(neighbor, "address",
                        fmt::format("{} is the VIP of service {}; weir itself answers for it", what,
                                    in_quotes(check.vips[neighbor.address]->name)));
        if (neighbor.mac.is_zero() || neighbor.mac.is_multicast())
            check.error(neighbor, "mac",
                        fmt::format("{}: mac {} is zero or multicast; allowed: a device's MAC address", what,
                                    to_text(neighbor.mac)));
        const auto [first, is_new] = seen.emplace(neighbor.address, &neighbor);
        if (!is_new)
            check.error(neighbor, "address",
                        fmt::format("{} stands twice; the first is at {}:{}", what, first->second->where.file,
                                    first->second->where.line));
    }
}

namespace {

bool on_link(const CheckContext& check, const PortConfig& port, const IpAddress& address) {
    const auto contains = [&](const IpPrefix& prefix) { return prefix.contains(address); };
    if (std::any_of(port.addresses.begin(), port.addresses.end(), contains)) return true;
    const auto& neighbors = check.config.neighbors;
    return std::any_of(neighbors.begin(), neighbors.end(), [&](const NeighborConfig& neighbor) {
        return neighbor.address == address && neighbor.port == port.name;
    });
}

// The prefix with its host bits cleared.
IpPrefix network_of(const IpPrefix& prefix) {
    auto bytes = prefix.address.bytes();
    for (unsigned bit = prefix.length; bit < prefix.address.bit_length(); ++bit)
        bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] & ~(0x80 >> bit % 8));
    if (!prefix.address.is_v4()) return {IpAddress(Ipv6Address{bytes}), prefix.length};
    Ipv4Address v4;
    std::memcpy(&v4, bytes.data(), sizeof(v4));
    return {IpAddress(v4), prefix.length};
}

}  // namespace

void check_routes(CheckContext& check) {
    std::map<IpPrefix, const RouteConfig*> seen;
    for (const RouteConfig& route : check.config.routes) {
        const std::string what = "route " + to_text(route.prefix);
        const PortConfig* port = port_of(check, route, what);
        const IpPrefix network = network_of(route.prefix);
        if (network != route.prefix)
            check.error(
                route, "prefix",
                fmt::format("{} has bits behind its length; did you mean {}?", what, to_text(network)));
        const auto [first, is_new] = seen.emplace(network, &route);
        if (!is_new)
            check.error(route, "prefix",
                        fmt::format("{} stands twice; the first is at {}:{}", what, first->second->where.file,
                                    first->second->where.line));
        if (route.via.family() != route.prefix.address.family())
            check.error(route, "via",
                        fmt::format("{}: via {} is of the other family", what, to_text(route.via)));
        else if (check.own_addresses.contains(route.via) || check.vips.contains(route.via))
            check.error(
                route, "via",
                fmt::format("{}: via {} is weir itself; allowed: a router", what, to_text(route.via)));
        else if (port != nullptr && check.scope.reachability && !on_link(check, *port, route.via))
            check.error(route, "via",
                        fmt::format("{}: via {} is off-link; allowed: an address in a prefix of port {}'s "
                                    "addresses, or with an entry in neighbors there",
                                    what, to_text(route.via), in_quotes(port->name)));
    }
}

}  // namespace weir
