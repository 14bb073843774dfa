// The way to a backend: egress port, weir's own address there, and the MAC of the next hop.
//
// Of ports with a host interface the kernel decides (KernelWays): its routes, neighbours and addresses are
// the one truth there, and the file's entries are in the kernel too. Of ports without one, and where there is
// no kernel to ask (replay, explain), the file decides: which port and which router is EgressFinder's answer
// (ctrl/config/egress.h), the same that validate_config judged by. Where both know a way, the longer prefix
// wins, the kernel's if they are equal.
#pragma once

#include <memory>

#include "ctrl/config/config.h"
#include "ctrl/config/egress.h"
#include "ctrl/kernel/kernel_ways.h"
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
    bool by_kernel = false;   // the kernel has decided
    bool resolved = false;    // `mac` is known, or derived
    bool derived = false;     // `mac` is made up from `address` (replay)
    friend bool operator==(const NextHop&, const NextHop&) = default;
};

// 02:00 and the four bytes of an IPv4 address; 06:00 and FNV-1a (32 bits, big-endian) of the 16 bytes of an
// IPv6 address. Unicast, locally administered, the same in every run.
[[nodiscard]] MacAddress derived_mac(const IpAddress& address);

// weir's own addresses on a port: the kernel's, once it has the port's host interface; until then, and
// without one, the file's. `kernel` may be null.
[[nodiscard]] std::vector<IpAddress> own_addresses(PortId port, const PortConfig& config,
                                                   const KernelWays* kernel);

// Keeps its own copy of what it needs. Immutable after construction; the control thread.
class NextHops {
  public:
    // `derive_unknown_macs`: for replay. A next hop without a neighbor entry gets a derived MAC, and a
    // destination that nothing covers is taken to be on the first port's link.
    // `kernel`: null where there is none to ask; it outlives this, and what it says may change meanwhile.
    // Precondition: validate_config accepted the configuration.
    NextHops(const Config& config, bool derive_unknown_macs, const KernelWays* kernel = nullptr);

    [[nodiscard]] NextHop find(const IpAddress& destination) const;
    // Why a destination is not reachable: a clause that follows "backend ADDRESS: ".
    [[nodiscard]] std::string why_not(const IpAddress& destination) const;

  private:
    [[nodiscard]] NextHop find_in_file(const IpAddress& destination, const Egress& egress) const;
    void set_source(NextHop& hop, const PortConfig& port, Family family) const;

    std::unique_ptr<const Config> world_;  // what the file decides; the finder refers to it
    EgressFinder egress_;
    bool derive_;
    const KernelWays* kernel_;
};

}  // namespace weir
