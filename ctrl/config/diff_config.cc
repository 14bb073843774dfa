#include "ctrl/config/diff_config.h"

#include <fmt/format.h>

#include <map>

#include "ctrl/config/needs_sessions.h"
#include "ctrl/config/setting_text.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

using Sentences = std::vector<std::string>;

// Values as the operator writes them.
std::string shown(const std::string& text) { return text.empty() ? "none" : text; }
std::string shown(bool value) { return value ? "true" : "false"; }
std::string shown(unsigned value) { return fmt::format("{}", value); }
std::string shown(std::uint64_t value) { return fmt::format("{}", value); }
std::string shown(std::uint16_t value) { return fmt::format("{}", value); }
std::string shown(IdleMode mode) { return mode == IdleMode::poll ? "poll" : "sleep"; }
std::string shown(SelectionHash hash) {
    return hash == SelectionHash::five_tuple ? "five_tuple" : "source_ip";
}
std::string shown(ProbeProtocol protocol) { return std::string(name_of(protocol)); }
std::string shown(ProbePath path) { return path == ProbePath::vip ? "vip" : "direct"; }
std::string shown(UnhealthyFlows what) {
    return std::string(kUnhealthyFlowsNames[static_cast<std::size_t>(what)]);
}
std::string shown(const MinimumHealthyConfig& minimum) {
    return fmt::format("{} and {} %, else {}", minimum.count, minimum.percentage,
                       kBelowMinimumNames[static_cast<std::size_t>(minimum.action)]);
}
std::string shown(const StickinessConfig& sticky) {
    return fmt::format("{} by /{} and /{}", to_text(sticky.duration), sticky.prefix_v4, sticky.prefix_v6);
}
std::string shown(ClientIdentity identity) {
    return std::string(kClientIdentityNames[static_cast<std::size_t>(identity)]);
}
std::string shown(ForwardingMode mode) { return std::string(name_of(mode)); }
std::string shown(Duration duration) { return to_text(duration); }
std::string shown(const IpAddress& address) { return to_text(address); }
std::string shown(const IpPrefix& prefix) { return to_text(prefix); }
std::string shown(const MacAddress& mac) { return to_text(mac); }
std::string shown(L4PortRange ports) { return fmt::format("{}-{}", ports.first, ports.last); }
std::string shown(VlanTags vlan) { return to_text(vlan); }
std::string shown(const std::vector<PortRange>& ports) { return to_text(ports); }
template <class T>
std::string shown(const std::optional<T>& value) {
    return value ? shown(*value) : "default";
}
template <class T>
std::string shown(const std::vector<T>& values) {
    std::string text;
    for (const T& value : values) text += (text.empty() ? "" : ", ") + shown(value);
    return fmt::format("[{}]", text);
}

template <class T>
void compare(Sentences& to, const std::string& what, const T& before, const T& after) {
    if (before != after) to.push_back(fmt::format("{} {} -> {}", what, shown(before), shown(after)));
}

// Calls removed(old), added(new), kept(old, new) for two vectors of things with an identity.
template <class Thing, class Key, class Removed, class Added, class Kept>
void match(const std::vector<Thing>& before, const std::vector<Thing>& after, Key key, Removed removed,
           Added added, Kept kept) {
    using Identity = std::decay_t<decltype(key(before.front()))>;
    std::map<Identity, const Thing*> old_things, new_things;
    for (const Thing& thing : before) old_things.emplace(key(thing), &thing);
    for (const Thing& thing : after) new_things.emplace(key(thing), &thing);
    for (const Thing& thing : before)
        if (!new_things.contains(key(thing))) removed(thing);
    for (const Thing& thing : after) {
        const auto old_thing = old_things.find(key(thing));
        if (old_thing == old_things.end())
            added(thing);
        else if (!(*old_thing->second == thing))
            kept(*old_thing->second, thing);
    }
}

constexpr auto kByName = [](const auto& thing) { return thing.name; };

void diff_dataplane(const DataplaneConfig& before, const DataplaneConfig& after, Sentences& to) {
    compare(to, "dataplane.workers:", before.workers, after.workers);
    compare(to, "dataplane.cpus:", before.cpus, after.cpus);
    compare(to, "dataplane.control_cpu:", before.control_cpu, after.control_cpu);
    compare(to, "dataplane.hugepages:", before.hugepages, after.hugepages);
    compare(to, "dataplane.memory:", before.memory, after.memory);
    compare(to, "dataplane.hash_key_file:", before.hash_key_file, after.hash_key_file);
    compare(to, "dataplane.flows_per_worker:", before.flows_per_worker, after.flows_per_worker);
    compare(to, "dataplane.sticky_clients_per_worker:", before.sticky_clients_per_worker,
            after.sticky_clients_per_worker);
    compare(to, "dataplane.sessions_per_worker:", before.sessions_per_worker, after.sessions_per_worker);
    compare(to, "dataplane.idle:", before.idle, after.idle);
}

void diff_timeouts(const TimeoutsConfig& before, const TimeoutsConfig& after, Sentences& to) {
    compare(to, "timeouts: tcp_opening", before.tcp_opening, after.tcp_opening);
    compare(to, "timeouts: tcp_established", before.tcp_established, after.tcp_established);
    compare(to, "timeouts: tcp_closing", before.tcp_closing, after.tcp_closing);
    compare(to, "timeouts: udp", before.udp, after.udp);
    compare(to, "timeouts: nat_tcp_established", before.nat_tcp_established, after.nat_tcp_established);
    compare(to, "timeouts: nat_tcp_transitory", before.nat_tcp_transitory, after.nat_tcp_transitory);
    compare(to, "timeouts: nat_tcp_time_wait", before.nat_tcp_time_wait, after.nat_tcp_time_wait);
    compare(to, "timeouts: nat_udp", before.nat_udp, after.nat_udp);
}

void diff_ports(const std::vector<PortConfig>& before, const std::vector<PortConfig>& after, Sentences& to) {
    const std::size_t so_far = to.size();
    match(
        before, after, kByName,
        [&](const PortConfig& port) { to.push_back(fmt::format("port {}: removed", port.name)); },
        [&](const PortConfig& port) {
            to.push_back(fmt::format("port {}: added ({})", port.name, port.device));
        },
        [&](const PortConfig& a, const PortConfig& b) {
            const std::string what = fmt::format("port {}: ", b.name);
            compare(to, what + "device", a.device, b.device);
            compare(to, what + "addresses", a.addresses, b.addresses);
            compare(to, what + "mac", a.mac, b.mac);
            compare(to, what + "mtu", a.mtu, b.mtu);
            compare(to, what + "vlan", a.vlan, b.vlan);
            compare(to, what + "host_interface", a.host_interface, b.host_interface);
            compare(to, what + "snat.addresses", a.snat.addresses, b.snat.addresses);
            compare(to, what + "snat.ports", a.snat.ports, b.snat.ports);
            compare(to, what + "snat.exhausted = \"reset\":", a.snat.resets_when_exhausted,
                    b.snat.resets_when_exhausted);
        });
    Sentences old_order, new_order;
    for (const PortConfig& port : before) old_order.push_back(port.name);
    for (const PortConfig& port : after) new_order.push_back(port.name);
    // Added and removed ports have been named; this is a pure exchange.
    if (to.size() == so_far) compare(to, "ports: order", old_order, new_order);
}

void diff_neighbors(const Config& before, const Config& after, Sentences& to) {
    match(
        before.neighbors, after.neighbors, [](const NeighborConfig& neighbor) { return neighbor.address; },
        [&](const NeighborConfig& gone) {
            to.push_back(fmt::format("neighbor {}: removed", to_text(gone.address)));
        },
        [&](const NeighborConfig& added) {
            to.push_back(fmt::format("neighbor {}: added ({} on {})", to_text(added.address),
                                     to_text(added.mac), added.port));
        },
        [&](const NeighborConfig& a, const NeighborConfig& b) {
            const std::string what = fmt::format("neighbor {}: ", to_text(b.address));
            compare(to, what + "mac", a.mac, b.mac);
            compare(to, what + "port", a.port, b.port);
        });
}

void diff_routes(const Config& before, const Config& after, Sentences& to) {
    match(
        before.routes, after.routes, [](const RouteConfig& route) { return route.prefix; },
        [&](const RouteConfig& gone) {
            to.push_back(fmt::format("route {}: removed", to_text(gone.prefix)));
        },
        [&](const RouteConfig& added) {
            to.push_back(fmt::format("route {}: added (via {} on {})", to_text(added.prefix),
                                     to_text(added.via), added.port));
        },
        [&](const RouteConfig& a, const RouteConfig& b) {
            const std::string what = fmt::format("route {}: ", to_text(b.prefix));
            compare(to, what + "via", a.via, b.via);
            compare(to, what + "port", a.port, b.port);
        });
}

void diff_health_check(const std::string& pool, const std::optional<HealthCheckConfig>& before,
                       const std::optional<HealthCheckConfig>& after, Sentences& to) {
    if (before.has_value() != after.has_value())
        to.push_back(fmt::format("{}health_check {}", pool, after ? "added" : "removed"));
    if (!before || !after) return;
    const std::string what = pool + "health_check ";
    compare(to, what + "protocol", before->protocol, after->protocol);
    compare(to, what + "via", before->via, after->via);
    compare(to, what + "port", before->port, after->port);
    compare(to, what + "path", before->path, after->path);
    compare(to, what + "host", before->host, after->host);
    compare(to, what + "method", before->method, after->method);
    compare(to, what + "matcher", before->matcher, after->matcher);
    compare(to, what + "body", before->body, after->body);
    compare(to, what + "service", before->grpc_service, after->grpc_service);
    compare(to, what + "verify", before->verify, after->verify);
    compare(to, what + "ca_file", before->ca_file, after->ca_file);
    compare(to, what + "interval", before->interval, after->interval);
    compare(to, what + "timeout", before->timeout, after->timeout);
    compare(to, what + "healthy_threshold", before->healthy_threshold, after->healthy_threshold);
    compare(to, what + "unhealthy_threshold", before->unhealthy_threshold, after->unhealthy_threshold);
    compare(to, what + "passive", before->passive, after->passive);
    // Payloads may hold any byte: not for a log.
    if (before->send != after->send) to.push_back(what + "send changed");
    if (before->expect != after->expect) to.push_back(what + "expect changed");
}

void diff_lifecycle(const std::string& what, const PoolConfig& before, const PoolConfig& after,
                    Sentences& to) {
    compare(to, what + "deregistration_delay", before.deregistration_delay, after.deregistration_delay);
    compare(to, what + "connection_termination", before.connection_termination, after.connection_termination);
    compare(to, what + "slow_start", before.slow_start, after.slow_start);
    compare(to, what + "unhealthy_flows", before.unhealthy_flows, after.unhealthy_flows);
    compare(to, what + "unhealthy_draining", before.unhealthy_draining, after.unhealthy_draining);
    compare(to, what + "minimum_healthy", before.minimum_healthy, after.minimum_healthy);
    compare(to, what + "cross_zone", before.cross_zone, after.cross_zone);
    compare(to, what + "stickiness", before.stickiness, after.stickiness);
}

void diff_backend(const std::string& pool, const BackendConfig& before, const BackendConfig& after,
                  Sentences& to) {
    const std::string what = fmt::format("{}backend {}: ", pool, after.name);
    if (before.address != after.address)
        to.push_back(fmt::format("{}address {} -> {} (a new backend; the old address is drained)", what,
                                 to_text(before.address), to_text(after.address)));
    compare(to, what + "port", before.port, after.port);
    compare(to, what + "weight", before.weight, after.weight);
    compare(to, what + "zone", before.zone, after.zone);
    compare(to, what + "forwarding", before.forwarding, after.forwarding);
    compare(to, what + "drained", before.drained, after.drained);
}

void diff_pool(const PoolConfig& before, const PoolConfig& after, Sentences& to) {
    const std::string what = fmt::format("pool {}: ", after.name);
    compare(to, what + "hash", before.hash, after.hash);
    compare(to, what + "table_size", before.table_size, after.table_size);
    diff_lifecycle(what, before, after, to);
    compare(to, what + "forwarding", before.forwarding, after.forwarding);
    compare(to, what + "client_address", before.client_address, after.client_address);
    diff_health_check(what, before.health_check, after.health_check, to);
    match(
        before.backends.items(), after.backends.items(), kByName,
        [&](const BackendConfig& gone) {
            to.push_back(fmt::format("{}backend {} removed", what, gone.name));
        },
        [&](const BackendConfig& added) {
            to.push_back(fmt::format("{}backend {} added ({}, weight {})", what, added.name,
                                     to_text(added.address), added.weight));
        },
        [&](const BackendConfig& a, const BackendConfig& b) { diff_backend(what, a, b, to); });
}

std::string protocols(const ServiceConfig& service) {
    return service.tcp && service.udp ? "tcp+udp" : service.udp ? "udp" : "tcp";
}

void diff_service(const ServiceConfig& before, const ServiceConfig& after, Sentences& to) {
    const std::string what = fmt::format("service {}: ", after.name);
    compare(to, what + "vip", before.vip, after.vip);
    compare(to, what + "protocol", protocols(before), protocols(after));
    compare(to, what + "port", before.ports, after.ports);
    compare(to, what + "forwarding", before.forwarding, after.forwarding);
    compare(to, what + "pool", before.pool, after.pool);
}

void diff_metrics(const std::optional<MetricsConfig>& before, const std::optional<MetricsConfig>& after,
                  ConfigDiff& diff) {
    const MetricsConfig defaults;
    const MetricsConfig& old_metrics = before ? *before : defaults;
    const MetricsConfig& new_metrics = after ? *after : defaults;
    compare(diff.needs_restart, "metrics.listen:", old_metrics.listen, new_metrics.listen);
    compare(diff.needs_restart, "metrics.detail = \"full\":", old_metrics.full_detail,
            new_metrics.full_detail);
}

void diff_control(const std::optional<ControlConfig>& before, const std::optional<ControlConfig>& after,
                  ConfigDiff& diff) {
    const ControlConfig defaults;
    const ControlConfig& old_control = before ? *before : defaults;
    const ControlConfig& new_control = after ? *after : defaults;
    compare(diff.needs_restart, "control.socket:", old_control.socket, new_control.socket);
    compare(diff.needs_restart, "control.state_directory:", old_control.state_directory,
            new_control.state_directory);
}

}  // namespace

ConfigDiff diff_config(const Config& old_config, const Config& new_config) {
    ConfigDiff diff;
    Sentences& changes = diff.changes;
    diff_dataplane(old_config.dataplane, new_config.dataplane, diff.needs_restart);
    diff_ports(old_config.ports, new_config.ports, diff.needs_restart);
    if (!needs_sessions(old_config) && needs_sessions(new_config))
        diff.needs_restart.emplace_back(
            "forwarding to \"dnat\", whose sessions get their memory at the start");
    diff_metrics(old_config.metrics, new_config.metrics, diff);
    diff_control(old_config.control, new_config.control, diff);
    compare(changes, "zone", old_config.zone, new_config.zone);
    diff_timeouts(old_config.timeouts, new_config.timeouts, changes);
    diff_neighbors(old_config, new_config, changes);
    diff_routes(old_config, new_config, changes);
    match(
        old_config.pools, new_config.pools, kByName,
        [&](const PoolConfig& gone) { changes.push_back(fmt::format("pool {} removed", gone.name)); },
        [&](const PoolConfig& added) {
            changes.push_back(fmt::format("pool {} added ({} backends)", added.name, added.backends.size()));
        },
        [&](const PoolConfig& a, const PoolConfig& b) { diff_pool(a, b, changes); });
    match(
        old_config.services, new_config.services, kByName,
        [&](const ServiceConfig& gone) { changes.push_back(fmt::format("service {} removed", gone.name)); },
        [&](const ServiceConfig& added) {
            changes.push_back(fmt::format("service {} added ({} {} port {} -> pool {})", added.name,
                                          to_text(added.vip), protocols(added), to_text(added.ports),
                                          added.pool));
        },
        [&](const ServiceConfig& a, const ServiceConfig& b) { diff_service(a, b, changes); });
    return diff;
}

}  // namespace weir
