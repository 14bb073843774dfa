// Out of which port a backend's packets leave, as far as the configuration says: neighbors, the prefixes of
// the ports' addresses, routes. Control side; any number of readers of one object.
#pragma once

#include <map>
#include <string_view>

#include "ctrl/config/config.h"

namespace weir {

struct Egress {
    const PortConfig* port = nullptr;          // nullptr: no neighbor, prefix or route has the address
    const RouteConfig* route = nullptr;        // the route taken; nullptr if the address is on-link
    const NeighborConfig* neighbor = nullptr;  // of the next hop; nullptr: its MAC is not known
    int prefix_length = -1;                    // of what covers the address; a neighbor entry: all its bits
    [[nodiscard]] bool on_link() const noexcept { return port != nullptr && route == nullptr; }
};

class EgressFinder {
  public:
    // `config` outlives this and is not changed.
    explicit EgressFinder(const Config& config);
    // A neighbors entry beats any prefix; then the longest prefix wins, a port's own before a route's.
    [[nodiscard]] Egress find(const IpAddress& address) const;

  private:
    [[nodiscard]] const PortConfig* port_named(std::string_view name) const;

    const Config& config_;
    std::map<std::string_view, const PortConfig*> ports_;
    std::map<IpAddress, const NeighborConfig*> neighbors_;
};

}  // namespace weir
