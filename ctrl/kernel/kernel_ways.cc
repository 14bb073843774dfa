#include "ctrl/kernel/kernel_ways.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "dataplane/net/address_text.h"

namespace weir {
namespace {

// The finalizer of splitmix64 (Steele et al., 2014): the same on every machine.
std::uint64_t mix(std::uint64_t hash, std::uint64_t word) {
    std::uint64_t z = (hash ^ word) + 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

std::uint64_t mix(std::uint64_t hash, const IpAddress& address) {
    for (unsigned half = 0; half < 16; half += 8) {
        std::uint64_t word = static_cast<std::uint64_t>(address.family());
        for (unsigned byte = 0; byte < 8; ++byte) word = word << 8 | address.bytes()[half + byte];
        hash = mix(hash, word);
    }
    return hash;
}

bool is_link_local(const IpAddress& address) {
    return !address.is_v4() && address.bytes()[0] == 0xfe && (address.bytes()[1] & 0xc0) == 0x80;
}

std::size_t family_place(Family family) { return family == Family::v4 ? 0 : 1; }

const IpAddress& hop_of(const KernelPath& path, const IpAddress& destination) {
    return path.gateway ? *path.gateway : destination;
}

}  // namespace

std::size_t HopHash::operator()(const HopKey& key) const noexcept {
    return mix(index(key.port), key.address);
}

IpPrefix network_of(const IpAddress& address, unsigned length) {
    auto bytes = address.bytes();
    for (unsigned byte = 0; byte < bytes.size(); ++byte) {
        const unsigned kept = length > byte * 8 ? std::min(length - byte * 8, 8u) : 0;
        bytes[byte] = static_cast<std::uint8_t>(bytes[byte] & (0xff00u >> kept));
    }
    IpPrefix network{address, static_cast<std::uint8_t>(length)};
    if (address.is_v4())
        network.address =
            IpAddress(std::bit_cast<Ipv4Address>(std::array{bytes[0], bytes[1], bytes[2], bytes[3]}));
    else
        network.address = IpAddress(Ipv6Address{bytes});
    return network;
}

bool WaysChange::concerns(const IpAddress& destination, const IpAddress& hop) const {
    return std::ranges::binary_search(hops, hop) || concerns_route_to(destination);
}

bool WaysChange::concerns_route_to(const IpAddress& destination) const {
    return all ||
           std::ranges::any_of(destinations, [&](const IpPrefix& p) { return p.contains(destination); });
}

void WaysChange::prepare() {
    const auto unique = [](auto& list) {
        std::ranges::sort(list);
        const auto repeated = std::ranges::unique(list);
        list.erase(repeated.begin(), repeated.end());
    };
    unique(hops);
    unique(destinations);
    // Comparing each backend with many prefixes costs more than looking its way up.
    constexpr std::size_t kManyPrefixes = 64;
    all |= destinations.size() > kManyPrefixes;
}

KernelWays::KernelWays(const std::vector<std::string>& host_interfaces) {
    for (const std::string& name : host_interfaces) interfaces_.push_back({.name = name});
}

std::optional<PortId> KernelWays::port_of(InterfaceIndex interface) const {
    for (std::size_t port = 0; port < interfaces_.size(); ++port)
        if (interface != InterfaceIndex::none && interfaces_[port].index == interface)
            return PortId{static_cast<std::uint8_t>(port)};
    return std::nullopt;
}

bool KernelWays::is_own(const IpAddress& address) const {
    return std::ranges::any_of(interfaces_, [&](const HostInterface& host) {
        return std::ranges::any_of(host.addresses,
                                   [&](const KernelAddress& own) { return own.prefix.address == address; });
    });
}

bool KernelWays::leads_out_of_a_port(const KernelRoute& route) const {
    return std::ranges::any_of(
        route.paths, [this](const KernelPath& path) { return !path.dead && port_of(path.interface); });
}

const KernelRoute* KernelWays::route_to(const IpAddress& destination) const {
    const auto& lengths = lengths_[family_place(destination.family())];
    for (unsigned length = destination.bit_length() + 1; length-- > 0;) {
        if (!lengths.test(length)) continue;
        const auto routes = fib_.find(network_of(destination, length));
        if (routes == fib_.end()) continue;
        const KernelRoute* foreign = nullptr;
        for (const KernelRoute& route : routes->second) {
            if (route.refused || leads_out_of_a_port(route)) return &route;
            const bool lives = !std::ranges::all_of(route.paths, &KernelPath::dead);
            if (lives && foreign == nullptr) foreign = &route;
        }
        if (foreign != nullptr) return foreign;
    }
    return nullptr;
}

bool KernelWays::is_live(const KernelPath& path, const IpAddress& destination) const {
    if (path.link_down) return false;
    const auto neighbor = neighbors_.find({*port_of(path.interface), hop_of(path, destination)});
    return neighbor == neighbors_.end() || !neighbor->second.failed;
}

// Null: no path leads out of a host interface.
const KernelPath* KernelWays::choose(const KernelRoute& route, const IpAddress& destination) const {
    std::vector<const KernelPath*> usable, live;
    for (const KernelPath& path : route.paths)
        if (!path.dead && port_of(path.interface)) usable.push_back(&path);
    if (usable.size() <= 1) return usable.empty() ? nullptr : usable.front();
    std::ranges::copy_if(usable, std::back_inserter(live),
                         [&](const KernelPath* path) { return is_live(*path, destination); });
    const std::uint64_t seed = mix(0, destination);
    const KernelPath* best = nullptr;
    std::uint64_t highest = 0;
    for (const KernelPath* path : live.empty() ? usable : live) {
        // A path of weight w draws w times, the highest of all draws wins. The port's number, not the
        // kernel's: that one changes when the interface is made again.
        const std::uint64_t name =
            path->gateway ? mix(seed, *path->gateway) : mix(seed, index(*port_of(path->interface)));
        for (std::uint64_t draw = 0; draw < path->weight; ++draw) {
            const std::uint64_t score = mix(name, draw);
            if (best != nullptr && score <= highest) continue;
            best = path;
            highest = score;
        }
    }
    return best;
}

// The interface's address in the next hop's own network, else its first; what IPv6 does not like only
// if there is nothing else. Link-local ones reach the link alone (RFC 4007 5), so only a link-local
// destination gets them.
std::optional<IpAddress> KernelWays::source_for(PortId port, const IpAddress& hop,
                                                const IpAddress& destination) const {
    const KernelAddress* best = nullptr;
    int best_rank = -1;
    for (const KernelAddress& own : interfaces_[index(port)].addresses) {
        if (own.prefix.address.family() != destination.family()) continue;
        if (is_link_local(own.prefix.address) != is_link_local(destination)) continue;
        const int rank = (own.preferred ? 2 : 0) + (own.prefix.contains(hop) ? 1 : 0);
        if (rank <= best_rank) continue;
        best = &own;
        best_rank = rank;
    }
    return best == nullptr ? std::nullopt : std::optional(best->prefix.address);
}

KernelWay KernelWays::find(const IpAddress& destination) const {
    KernelWay way;
    if (is_own(destination)) {
        way.problem = WayProblem::own_address;
        way.prefix_length = static_cast<int>(destination.bit_length());
        return way;
    }
    const KernelRoute* route = route_to(destination);
    if (route == nullptr) return way;
    way.prefix_length = route->prefix.length;
    way.problem = WayProblem::refused;
    if (route->refused) return way;
    const KernelPath* path = choose(*route, destination);
    way.problem = path == nullptr ? WayProblem::foreign_interface : WayProblem::none;
    way.interface = path == nullptr ? route->paths.front().interface : path->interface;
    if (path == nullptr) return way;
    way.port = *port_of(path->interface);
    way.hop = hop_of(*path, destination);
    way.on_link = !path->gateway;
    way.source = route->source ? route->source : source_for(way.port, way.hop, destination);
    const auto neighbor = neighbors_.find({way.port, way.hop});
    if (neighbor != neighbors_.end()) way.neighbor = &neighbor->second;
    return way;
}

std::string KernelWays::why_not(const IpAddress& destination) const {
    const KernelWay way = find(destination);
    const auto name = names_.find(way.interface);
    switch (way.problem) {
        case WayProblem::own_address:
            return "it is this host's own address";
        case WayProblem::refused:
            return "the kernel's route there refuses packets (blackhole, unreachable or prohibit)";
        case WayProblem::foreign_interface:
            return fmt::format(
                "the kernel's route leads out of {}, which is no port's host interface: "
                "add a route over one, as in ip route add {} via GATEWAY dev HOST_INTERFACE",
                name == names_.end() ? "an unknown interface" : name->second, to_text(destination));
        default:
            return "the kernel has no route there: add one with ip route, or an address to the port";
    }
}

HopCounts KernelWays::count_hops() const {
    HopCounts counts;
    for (const auto& [key, neighbor] : neighbors_)
        ++(neighbor.resolved ? counts.resolved : neighbor.failed ? counts.failed : counts.unresolved);
    return counts;
}

void KernelWays::set_interface(PortId port, InterfaceIndex interface, std::vector<KernelAddress> addresses) {
    if (!has_host(port)) return;
    std::ranges::sort(addresses, {}, &KernelAddress::prefix);
    HostInterface& host = interfaces_[index(port)];
    if (host.index == interface && host.addresses == addresses) return;
    if (host.index != interface)  // what the kernel kept there is gone; the MACs are still worth trying
        for (auto& [key, neighbor] : neighbors_)
            if (key.port == port) neighbor.is_managed = neighbor.is_permanent = false;
    host.index = interface;
    host.addresses = std::move(addresses);
    change_.all = true;
}

void KernelWays::set_routes(std::vector<KernelRoute> routes) {
    Fib next;
    for (KernelRoute& route : routes) next[route.prefix].push_back(std::move(route));
    for (auto& [prefix, of_prefix] : next) std::ranges::stable_sort(of_prefix, {}, &KernelRoute::metric);
    for (const auto& [prefix, of_prefix] : fib_) {
        const auto now = next.find(prefix);
        if (now == next.end() || now->second != of_prefix) change_.destinations.push_back(prefix);
    }
    for (const auto& [prefix, of_prefix] : next)
        if (!fib_.contains(prefix)) change_.destinations.push_back(prefix);
    fib_ = std::move(next);
    index_lengths();
}

void KernelWays::index_lengths() {
    lengths_ = {};
    multipath_.clear();
    for (const auto& [prefix, of_prefix] : fib_) {
        lengths_[family_place(prefix.address.family())].set(prefix.length);
        for (const KernelRoute& route : of_prefix)
            if (route.paths.size() > 1) multipath_.push_back(&route);
    }
}

std::vector<HopKey> KernelWays::want_hops_to(const IpAddress& destination) {
    std::vector<HopKey> fresh;
    const KernelRoute* route = is_own(destination) ? nullptr : route_to(destination);
    if (route == nullptr) return fresh;
    for (const KernelPath& path : route->paths) {
        const auto port = port_of(path.interface);
        if (path.dead || !port) continue;
        const HopKey key{*port, hop_of(path, destination)};
        if (neighbors_.try_emplace(key).second) fresh.push_back(key);
    }
    return fresh;
}

KernelWays::Neighbors KernelWays::forget_hops_except(const std::vector<IpAddress>& destinations) {
    Neighbors known = std::exchange(neighbors_, {});
    for (const IpAddress& destination : destinations) (void)want_hops_to(destination);
    for (auto& [key, neighbor] : neighbors_)
        if (const auto before = known.extract(key)) neighbor = before.mapped();
    return known;
}

// A neighbour that has failed, or is back, moves backends between the paths of its routes.
void KernelWays::note_liveness(const IpAddress& hop) {
    for (const KernelRoute* route : multipath_)
        for (const KernelPath& path : route->paths) {
            if (path.gateway == hop) change_.destinations.push_back(route->prefix);
            if (!path.gateway && route->prefix.contains(hop))
                change_.destinations.push_back({hop, static_cast<std::uint8_t>(hop.bit_length())});
        }
}

void KernelWays::set_neighbor(const HopKey& key, const KernelNeighbor& neighbor) {
    const auto known = neighbors_.find(key);
    if (known == neighbors_.end() || known->second == neighbor) return;
    const KernelNeighbor before = std::exchange(known->second, neighbor);
    if (before.failed != neighbor.failed) note_liveness(key.address);
    if (before.resolved != neighbor.resolved || before.mac != neighbor.mac)
        change_.hops.push_back(key.address);
}

WaysChange KernelWays::take_change() {
    change_.prepare();
    return std::exchange(change_, {});
}

}  // namespace weir
