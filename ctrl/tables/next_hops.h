// The way to a backend, from what the configuration says: egress port, weir's own address there, and the MAC
// of the next hop. Spine A's world is static: neighbors and routes of the file; nothing is learnt.
//
// Which port and which router is EgressFinder's answer (ctrl/config/egress.h), the same that validate_config
// judged by; here come the MAC and weir's own address.
#pragma once

#include <memory>

#include "ctrl/config/config.h"
#include "ctrl/config/egress.h"
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

// Keeps its own copy of what it needs. Immutable after construction; the control thread.
class NextHops {
  public:
    // `derive_unknown_macs`: for replay. A next hop without a neighbor entry gets a derived MAC, and a
    // destination that nothing covers is taken to be on the first port's link.
    // Precondition: validate_config accepted the configuration.
    NextHops(const Config& config, bool derive_unknown_macs);

    [[nodiscard]] NextHop find(const IpAddress& destination) const;

  private:
    void set_source(NextHop& hop, const PortConfig& port, Family family) const;

    std::unique_ptr<const Config> world_;  // ports, neighbors and routes only; the finder refers to it
    EgressFinder egress_;
    bool derive_;
};

}  // namespace weir
