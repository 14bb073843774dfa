// Which way the kernel would send a packet: its routes, its neighbours and the addresses of weir's host
// interfaces, as a plain value without netlink in it.
//
// Theory of operation. KernelView (kernel_view.h) fills it from the kernel, the compiler asks it (through
// NextHops). It holds what weir needs and nothing else: routes of which a backend could make use, and the
// neighbours that are next hops of backends. So its size follows the configuration, whatever the network does
// to the kernel's tables. Each setter notes what it changed; take_change() tells the compiler which backends
// to look at.
//
// find() decides as the kernel does: the longest prefix, of it the lowest metric with a path that is not
// dead; but routes of one prefix that lead out of a port go before those that do not, so that a machine's own
// default route (its management interface) and weir's can stand side by side. Of several paths (ECMP) each
// backend has one, by weighted rendezvous hashing over its address: a function of the route alone, the same
// on every appliance, and when a path goes only its backends move. Paths whose neighbour has FAILED or whose
// link is down are passed over while there is another.
//
// The control thread.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"

namespace weir {

// The kernel's number of an interface; 0: there is none.
enum class InterfaceIndex : std::uint32_t { none = 0 };

struct KernelPath {
    InterfaceIndex interface {};
    std::optional<IpAddress> gateway;  // absent: on-link
    std::uint16_t weight = 1;          // 1 to 256
    bool dead = false;                 // RTNH_F_DEAD: the kernel does not use it
    bool link_down = false;            // RTNH_F_LINKDOWN: no carrier
    friend bool operator==(const KernelPath&, const KernelPath&) = default;
};

struct KernelRoute {
    IpPrefix prefix;  // a network: bits behind `length` are zero
    std::uint32_t metric = 0;
    bool refused = false;             // blackhole, unreachable, prohibit
    std::optional<IpAddress> source;  // RTA_PREFSRC
    std::vector<KernelPath> paths;    // empty only if refused
    friend bool operator==(const KernelRoute&, const KernelRoute&) = default;
};

struct KernelAddress {
    IpPrefix prefix;  // the address itself, with its network's length
    // False while IPv6 has not made sure that nobody else has it (tentative), or wants it gone (deprecated).
    bool preferred = true;
    friend bool operator==(const KernelAddress&, const KernelAddress&) = default;
};

struct HostInterface {
    std::string name;  // empty: the port has none
    InterfaceIndex index{};
    std::vector<KernelAddress> addresses;
    friend bool operator==(const HostInterface&, const HostInterface&) = default;
};

struct KernelNeighbor {
    MacAddress mac{};           // zero unless resolved
    bool resolved = false;      // the kernel has a MAC, or had one and has not called it FAILED since
    bool failed = false;        // FAILED, and nothing better since
    bool is_managed = false;    // the kernel keeps it resolved by itself
    bool is_permanent = false;  // somebody has said so, or the interface has no neighbour discovery
    [[nodiscard]] bool is_kept() const { return is_managed || is_permanent; }
    friend bool operator==(const KernelNeighbor&, const KernelNeighbor&) = default;
};

struct HopKey {
    PortId port{};
    IpAddress address;
    friend auto operator<=>(const HopKey&, const HopKey&) = default;
};
struct HopHash {
    std::size_t operator()(const HopKey& key) const noexcept;
};

// The network that `address` is in, if networks have `length` bits.
[[nodiscard]] IpPrefix network_of(const IpAddress& address, unsigned length);

enum class WayProblem : std::uint8_t {
    none,
    no_route,           // no route of the main table covers the destination
    refused,            // a blackhole, unreachable or prohibit route does
    foreign_interface,  // the route leads out of an interface that is not a port's
    own_address,        // of this very host
};

// The answer for one destination.
struct KernelWay {
    WayProblem problem = WayProblem::no_route;
    int prefix_length = -1;       // of the route; -1: none
    InterfaceIndex interface {};  // out of which it leads
    PortId port{};                // and below: only if there is no problem
    IpAddress hop;                // the destination, or a router
    bool on_link = false;
    std::optional<IpAddress> source;           // absent: the interface has no address of the family
    const KernelNeighbor* neighbor = nullptr;  // null: nobody has asked for it yet
};

// What changed, as far as ways to backends go. Addresses of hops may stand in it more than once.
struct WaysChange {
    bool all = false;                    // an interface, or its addresses
    std::vector<IpPrefix> destinations;  // whose route, or choice of path, is another
    std::vector<IpAddress> hops;         // whose neighbour is another

    [[nodiscard]] bool none() const { return !all && destinations.empty() && hops.empty(); }
    // Precondition: prepare() since the last addition.
    [[nodiscard]] bool concerns(const IpAddress& destination, const IpAddress& hop) const;
    [[nodiscard]] bool concerns_route_to(const IpAddress& destination) const;
    void prepare();
};

struct HopCounts {
    std::size_t resolved = 0, unresolved = 0, failed = 0;
};

class KernelWays {
  public:
    // By PortId: the name of the port's host interface, or empty.
    explicit KernelWays(const std::vector<std::string>& host_interfaces);

    [[nodiscard]] KernelWay find(const IpAddress& destination) const;
    // A clause that follows "backend ADDRESS: ". Precondition: find() sees a problem.
    [[nodiscard]] std::string why_not(const IpAddress& destination) const;

    [[nodiscard]] const std::vector<HostInterface>& interfaces() const { return interfaces_; }
    [[nodiscard]] const HostInterface& interface_of(PortId port) const { return interfaces_[index(port)]; }
    [[nodiscard]] std::optional<PortId> port_of(InterfaceIndex interface) const;
    [[nodiscard]] bool has_host(PortId port) const {
        return index(port) < interfaces_.size() && !interfaces_[index(port)].name.empty();
    }

    // Wanted next hops and what is known of them.
    using Neighbors = std::unordered_map<HopKey, KernelNeighbor, HopHash>;
    [[nodiscard]] const Neighbors& neighbors() const { return neighbors_; }
    [[nodiscard]] HopCounts count_hops() const;
    [[nodiscard]] std::size_t routes() const { return fib_.size(); }

    // Names of all interfaces, for sentences.
    void set_names(std::map<InterfaceIndex, std::string> names) { names_ = std::move(names); }
    // Ports without a host interface are left alone.
    void set_interface(PortId port, InterfaceIndex interface, std::vector<KernelAddress> addresses);
    // In place of all routes there were. Those of no use are the caller's to leave out.
    void set_routes(std::vector<KernelRoute> routes);
    // Every next hop that could lead to the destination becomes wanted. Returns those that were not yet.
    std::vector<HopKey> want_hops_to(const IpAddress& destination);
    // Wanted hops that none of these destinations needs any more are forgotten. Returns them.
    Neighbors forget_hops_except(const std::vector<IpAddress>& destinations);
    // Nothing happens if the hop is not wanted.
    void set_neighbor(const HopKey& key, const KernelNeighbor& neighbor);

    // Since the last take_change().
    [[nodiscard]] const WaysChange& change() const { return change_; }
    [[nodiscard]] WaysChange take_change();

  private:
    using Fib = std::map<IpPrefix, std::vector<KernelRoute>>;  // by network; of each the lowest metric first

    [[nodiscard]] bool leads_out_of_a_port(const KernelRoute& route) const;
    [[nodiscard]] const KernelRoute* route_to(const IpAddress& destination) const;
    [[nodiscard]] const KernelPath* choose(const KernelRoute& route, const IpAddress& destination) const;
    [[nodiscard]] bool is_live(const KernelPath& path, const IpAddress& destination) const;
    [[nodiscard]] std::optional<IpAddress> source_for(PortId port, const IpAddress& hop,
                                                      const IpAddress& destination) const;
    [[nodiscard]] bool is_own(const IpAddress& address) const;
    void note_liveness(const IpAddress& hop);
    void index_lengths();

    std::vector<HostInterface> interfaces_;  // by PortId
    std::map<InterfaceIndex, std::string> names_;
    Fib fib_;
    std::array<std::bitset<129>, 2> lengths_;  // that a route has; IPv4, IPv6
    std::vector<const KernelRoute*> multipath_;
    Neighbors neighbors_;
    WaysChange change_;
};

}  // namespace weir
