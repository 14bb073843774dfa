#include "ctrl/host_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "ctrl/config/first_services.h"
#include "ctrl/health/probe_route.h"
#include "dataplane/net/address_text.h"
#include "dataplane/state/probe_ports.h"
#include "drivers/netlink.h"

namespace weir {
namespace {

HostTapSpec spec_of(const PortConfig& config, const Port& port) {
    HostTapSpec spec{.name = config.host_interface,
                     .mac = port.mac(),
                     .mtu = port.mtu(),
                     .addresses = {},
                     .carrier = port.link_up()};
    for (const IpPrefix& address : config.addresses) spec.addresses.push_back(to_text(address));
    return spec;
}

bool has_address(const PortConfig& port, Family family) {
    return std::ranges::any_of(port.addresses,
                               [&](const IpPrefix& own) { return own.address.family() == family; });
}

MarkRule probe_rule(Family family) {
    return {family == Family::v4, kProbeMark, kProbeTable, kProbeRulePriority};
}

// The port by whose host interface probes through VIPs of the family go: the first that has an address for
// them to come from, by the file or else maybe by the kernel. Null: there are no such probes.
const PortConfig* port_of_probes(const Config& config, Family family) {
    const auto first = first_services(config);
    const bool wanted = std::ranges::any_of(config.pools, [&](const PoolConfig& pool) {
        if (!pool.health_check || pool.health_check->via != ProbePath::vip) return false;
        const auto service = first.find(pool.name);
        return service != first.end() && service->second->vip.family() == family;
    });
    if (!wanted) return nullptr;
    const PortConfig* found = nullptr;
    for (const PortConfig& port : config.ports) {
        if (port.host_interface.empty()) continue;
        if (has_address(port, family)) return &port;
        if (found == nullptr) found = &port;
    }
    return found;
}

// What leads a family's probes, once their rule has brought them to the table.
void add_way_of_probes(const Config& config, const std::string& port, std::vector<HostRoute>& routes,
                       std::vector<HostNeighbor>& neighbors) {
    for (const Family family : {Family::v4, Family::v6}) {
        const PortConfig* leads = port_of_probes(config, family);
        if (leads == nullptr || leads->name != port) continue;
        const bool v4 = family == Family::v4;
        const std::string gateway(v4 ? kProbeGatewayV4 : kProbeGatewayV6);
        routes.push_back({v4 ? "0.0.0.0/0" : "::/0", gateway, kProbeTable});
        neighbors.push_back({gateway, kProbeGatewayMac.bytes});
    }
}

}  // namespace

Result<std::unique_ptr<HostSide>> HostSide::open(const Config& config, std::span<const Port> ports,
                                                 unsigned workers, Notify notify) {
    std::vector<std::optional<Twin>> twins(ports.size());
    for (std::size_t i = 0; i < ports.size(); ++i) {
        if (config.ports[i].host_interface.empty()) continue;
        const HostTapSpec spec = spec_of(config.ports[i], ports[i]);
        auto tap = HostTap::open(spec);
        if (!tap) {
            Error error = tap.error();
            error.message.insert(0, fmt::format("port {}: ", config.ports[i].name));
            return tl::make_unexpected(std::move(error));
        }
        for (const std::string& note : tap->notes()) notify(Severity::warning, note);
        twins[i].emplace(Twin{config.ports[i].name, std::move(*tap), spec.carrier, spec.mac, spec.mtu});
    }
    std::unique_ptr<HostSide> side(new HostSide(std::move(twins), std::move(notify)));
    std::vector<HostPort> host_ports;
    for (std::size_t i = 0; i < ports.size(); ++i)
        host_ports.push_back({.pool = ports[i].pool(),
                              .can_send_chains = ports[i].can_send_chains(),
                              .tap = side->twins_[i] ? &side->twins_[i]->tap : nullptr});
    auto thread = HostThread::make(std::move(host_ports), workers);
    if (!thread) return tl::make_unexpected(thread.error());
    side->thread_ = std::move(*thread);
    side->follow(config);
    return side;
}

void HostSide::warn(const Result<void>& step) const {
    if (!step) notify_(Severity::warning, step.error().message);
}

void HostSide::follow(const Config& config) {
    for (auto& twin : twins_) {
        if (!twin || twin->gone) continue;
        std::vector<HostRoute> routes;
        for (const RouteConfig& route : config.routes)
            if (route.port == twin->port) routes.push_back({to_text(route.prefix), to_text(route.via)});
        std::vector<HostNeighbor> neighbors;
        for (const NeighborConfig& neighbor : config.neighbors)
            if (neighbor.port == twin->port)
                neighbors.push_back({to_text(neighbor.address), neighbor.mac.bytes});
        add_way_of_probes(config, twin->port, routes, neighbors);
        for (const std::string& refused : twin->tap.install(routes, neighbors))
            notify_(Severity::warning, refused);
    }
    follow_probe_rules(config);
    warn_of_local_vips(config);
}

void HostSide::follow_probe_rules(const Config& config) {
    if (!has_twins()) return;
    std::set<MarkRule> wanted;
    for (const Family family : {Family::v4, Family::v6})
        if (port_of_probes(config, family) != nullptr) wanted.insert(probe_rule(family));
    if (wanted == rules_) return;
    auto netlink = Netlink::open();
    if (!netlink) return notify_(Severity::warning, netlink.error().message);
    // Also removes what a weir that was killed has left.
    for (const Family family : {Family::v4, Family::v6}) {
        const MarkRule rule = probe_rule(family);
        warn(wanted.contains(rule) ? netlink->add_mark_rule(rule) : netlink->remove_mark_rule(rule));
    }
    rules_ = std::move(wanted);
}

void HostSide::restore_probe_rules() const {
    if (!rules_ || rules_->empty()) return;
    auto netlink = Netlink::open();
    if (!netlink) return;
    // What the kernel refuses it has refused before: follow() has said so.
    for (const MarkRule& rule : *rules_) (void)netlink->add_mark_rule(rule);
}

HostSide::~HostSide() {
    if (!rules_ || rules_->empty()) return;
    auto netlink = Netlink::open();
    if (!netlink) {
        notify_(Severity::warning, netlink.error().message);
        return;
    }
    for (const MarkRule& rule : *rules_) warn(netlink->remove_mark_rule(rule));
}

bool HostSide::has_twins() const {
    return std::ranges::any_of(twins_, [](const auto& twin) { return twin.has_value(); });
}

// The kernel would answer for such a VIP wherever it hears of it, and throw away what comes in with the VIP
// as source.
void HostSide::warn_of_local_vips(const Config& config) const {
    if (!has_twins()) return;
    std::unordered_map<std::string, const ServiceConfig*> vips;
    for (const ServiceConfig& service : config.services) vips.emplace(to_text(service.vip), &service);
    auto netlink = Netlink::open();
    if (!netlink) return;
    const auto addresses = netlink->addresses();
    if (!addresses) return;
    for (const LocalAddress& local : *addresses)
        if (const auto vip = vips.find(local.address); vip != vips.end())
            notify_(Severity::warning,
                    fmt::format(
                        "VIP {} of service {} is an address of this machine's kernel, which then drops what "
                        "bears it as source: run `ip address flush to {}`",
                        local.address, vip->second->name, local.address));
}

void HostSide::follow(const Port& port, bool link_up) {
    auto& twin = twins_[port.index()];
    if (!twin || twin->gone) return;
    if (thread_->stats(port.index()).interface_gone) {
        twin->gone = true;
        notify_(Severity::error,
                fmt::format(
                    "port {}: somebody has deleted host interface {}: the kernel receives and sends nothing "
                    "here until weir is restarted",
                    twin->port, twin->tap.name()));
        return;
    }
    for (const std::string& refused : twin->tap.restore()) notify_(Severity::warning, refused);
    if (link_up != std::exchange(twin->carrier, link_up)) warn(twin->tap.set_carrier(link_up));
    if (port.mac() != std::exchange(twin->mac, port.mac())) warn(twin->tap.set_mac(port.mac()));
    if (port.mtu() != std::exchange(twin->mtu, port.mtu())) warn(twin->tap.set_mtu(port.mtu()));
}

int HostSide::first_interface() const noexcept {
    for (const std::optional<Twin>& twin : twins_)
        if (twin) return twin->tap.index();
    return 0;
}

}  // namespace weir
