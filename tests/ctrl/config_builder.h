// Configurations for tests, as values: what read_config would have made of a file.
#pragma once

#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/tables/header_template.h"
#include "dataplane/net/address_text.h"
#include "dataplane/state/worker_counters.h"

namespace weir {

inline IpAddress ip(std::string_view text) { return parse_ip_address(text).value(); }
inline IpPrefix prefix(std::string_view text) { return parse_ip_prefix(text).value(); }
inline MacAddress mac(std::string_view text) { return parse_mac_address(text).value(); }

inline BackendConfig backend(std::string name, std::string_view address, unsigned weight = 1) {
    BackendConfig config;
    config.name = std::move(name);
    config.address = ip(address);
    config.weight = weight;
    return config;
}

inline PoolConfig pool(std::string name, std::vector<BackendConfig> backends) {
    PoolConfig config;
    config.name = std::move(name);
    config.backends = std::move(backends);
    return config;
}

inline ServiceConfig service(std::string name, std::string_view vip, std::string pool_name,
                             ForwardingMode mode = ForwardingMode::ipip, std::uint16_t l4_port = 80) {
    ServiceConfig config;
    config.name = std::move(name);
    config.vip = ip(vip);
    config.tcp = true;
    config.ports = {{l4_port, l4_port, false}};
    config.forwarding = mode;
    config.pool = std::move(pool_name);
    return config;
}

// One port "edge" with 10.1.0.2/16 and fd00:1::2/64, neighbours 10.1.1.11 and .12, a default route over
// 10.1.0.1 (a neighbour too).
inline Config edge_config() {
    Config config;
    PortConfig port;
    port.name = "edge";
    port.addresses = {prefix("10.1.0.2/16"), prefix("fd00:1::2/64")};
    config.ports = {port};
    const auto neighbor = [&](std::string_view address, std::string_view mac_text) {
        NeighborConfig entry;
        entry.address = ip(address);
        entry.mac = mac(mac_text);
        entry.port = "edge";
        config.neighbors.push_back(entry);
    };
    neighbor("10.1.0.1", "02:00:00:00:00:fe");
    neighbor("10.1.1.11", "02:00:00:00:00:11");
    neighbor("10.1.1.12", "02:00:00:00:00:12");
    neighbor("fd00:1::11", "02:00:00:00:06:11");
    RouteConfig route;
    route.prefix = prefix("0.0.0.0/0");
    route.via = ip("10.1.0.1");
    route.port = "edge";
    config.routes = {route};
    return config;
}

// The edge, pool "web" of w1 and w2, service "web" on 203.0.113.10:80.
inline Config web_config(ForwardingMode mode = ForwardingMode::ipip) {
    Config config = edge_config();
    config.pools = {pool("web", {backend("w1", "10.1.1.11"), backend("w2", "10.1.1.12")})};
    config.services = {service("web", "203.0.113.10", "web", mode)};
    return config;
}

inline std::vector<PortFacts> edge_facts() { return {{.mac = mac("02:00:00:00:00:01"), .mtu = 1500}}; }

// Workers that only count: what the control core sees of them.
class CountingWorkers {
  public:
    explicit CountingWorkers(std::size_t workers) {
        for (std::size_t i = 0; i < workers; ++i) {
            owned_.push_back(std::make_unique<WorkerCounters>());
            pointers_.push_back(owned_.back().get());
        }
    }
    [[nodiscard]] std::span<WorkerCounters* const> all() const { return pointers_; }
    WorkerCounters& operator[](std::size_t i) { return *owned_[i]; }
    // Every worker takes the generation.
    void take(std::uint64_t generation) {
        for (const auto& worker : owned_) worker->snapshot_generation.set(generation);
    }
    void sweep(std::uint64_t times) {
        for (const auto& worker : owned_) worker->flow_sweeps.add(times);
    }

  private:
    std::vector<std::unique_ptr<WorkerCounters>> owned_;
    std::vector<WorkerCounters*> pointers_;
};

}  // namespace weir
