// The way to a backend, from what the configuration says: egress port, weir's own address there, and the MAC
// of the next hop. Spine A's world is static: neighbors and routes of the file; nothing is learnt.
//
// Order: an exact entry of `neighbors`; else the connected prefix of a port that contains the address (on
// link); else the longest prefix of `routes`, whose `via` is looked up in the same way but not routed again.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ctrl/config/config.h"
#include "dataplane/ids.h"

namespace weir {

struct NextHop {
    PortId port{};
    IpAddress address;        // whose MAC it is: the backend's own, or a router's
    MacAddress mac{};         // zero unless resolved
    IpAddress source;         // weir's own address on the port, in the family of the destination
    bool has_source = false;  // false: the port has no address of that family
    bool on_link = false;     // no router between
    bool reachable = false;   // a neighbor entry, a connected prefix or a route covers the destination
    bool resolved = false;    // `mac` is known, or derived
    bool derived = false;     // `mac` is made up from `address` (replay)
    friend bool operator==(const NextHop&, const NextHop&) = default;
};

// 02:00 and the four bytes of an IPv4 address; 06:00 and FNV-1a (32 bits, big-endian) of the 16 bytes of an
// IPv6 address. Unicast, locally administered, the same in every run.
[[nodiscard]] MacAddress derived_mac(const IpAddress& address);

// Refers to nothing: keeps its own copies. Immutable after construction; the control thread.
class NextHops {
  public:
    // `derive_unknown_macs`: for replay. A next hop without a neighbor entry gets a derived MAC, and a
    // destination that nothing covers is taken to be on the first port's link.
    // Precondition: validate_config accepted the configuration.
    NextHops(const Config& config, bool derive_unknown_macs);

    [[nodiscard]] NextHop find(const IpAddress& destination) const;

    // Built from the same ports, neighbors and routes.
    friend bool operator==(const NextHops&, const NextHops&) = default;

  private:
    struct Neighbor {
        PortId port;
        MacAddress mac;
        friend bool operator==(const Neighbor&, const Neighbor&) = default;
    };
    struct Connected {
        IpPrefix prefix;  // weir's own address, with the network's length
        PortId port;
        friend bool operator==(const Connected&, const Connected&) = default;
    };
    struct Route {
        IpPrefix prefix;
        IpAddress via;
        PortId port;
        friend bool operator==(const Route&, const Route&) = default;
    };
    [[nodiscard]] const Connected* find_connected(const IpAddress& address) const;
    [[nodiscard]] const Route* find_route(const IpAddress& address) const;
    void set_source(NextHop& hop, Family family) const;
    void resolve(NextHop& hop) const;

    bool derive_;
    bool has_ports_;
    std::map<IpAddress, Neighbor> neighbors_;
    std::vector<Connected> connected_;
    std::vector<Route> routes_;  // longest prefix first
};

}  // namespace weir
