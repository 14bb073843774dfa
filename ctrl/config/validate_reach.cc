// Can each backend be reached in the modes that its services use? Where a port has a host interface the
// kernel knows what this file need not say (routes, neighbours, addresses), so there nothing is judged that
// it may know better; what it lacks is told while weir runs.
#include <algorithm>
#include <array>
#include <bitset>
#include <set>

#include "ctrl/config/egress.h"
#include "ctrl/config/setting_text.h"
#include "ctrl/config/tunnel_overhead.h"
#include "ctrl/config/validate_rules.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

using Modes = std::bitset<kForwardingModes>;

std::size_t bit(ForwardingMode mode) { return static_cast<std::size_t>(mode); }

// How many backends of a pool a warning concerns: it is given once, at the first.
struct Count {
    const BackendConfig* first = nullptr;
    std::size_t more = 0;
    void add(const BackendConfig& backend) {
        if (first == nullptr)
            first = &backend;
        else
            ++more;
    }
    [[nodiscard]] std::string text() const {
        return more == 0 ? fmt::format("backend {}", in_quotes(first->name))
                         : fmt::format("backend {} (and {} more)", in_quotes(first->name), more);
    }
};

class ReachRule {
  public:
    explicit ReachRule(CheckContext& check)
        : check_(check),
          egress_(check.config),
          asks_kernel_(std::ranges::any_of(check.config.ports, &has_host)) {
        for (const ServiceConfig& service : check.config.services) {
            Use& use = uses_[service.pool];
            use.services.push_back(&service);
            use.modes.set(bit(service.forwarding));
            use.ports.insert(use.ports.end(), service.ports.begin(), service.ports.end());
        }
    }

    void run() {
        for (const PoolConfig& pool : check_.config.pools) {
            const auto use = uses_.find(pool.name);
            if (use != uses_.end()) check_pool(pool, use->second);
        }
        check_mtus();
    }

  private:
    // What the services of a pool ask of it.
    struct Use {
        Modes modes;
        std::vector<PortRange> ports;
        std::vector<const ServiceConfig*> services;
    };
    struct PoolCounts {
        Count no_route, no_mac, other_port;
    };

    static bool has_host(const PortConfig& port) { return !port.host_interface.empty(); }

    void check_pool(const PoolConfig& pool, const Use& use) {
        PoolCounts counts;
        Modes pool_modes = use.modes;
        if (pool.forwarding) pool_modes.reset().set(bit(*pool.forwarding));
        for (const BackendConfig& backend : pool.backends) {
            if (why_no_host(backend.address) || check_.vips.contains(backend.address)) continue;  // reported
            Modes modes = pool_modes;
            if (backend.forwarding) modes.reset().set(bit(*backend.forwarding));
            const Egress egress = egress_.find(backend.address);
            bool off_link_error = false;
            for (std::size_t i = 0; i < kForwardingModes; ++i) {
                const auto mode = static_cast<ForwardingMode>(i);
                if (!modes.test(i) || !is_built(mode)) continue;
                if (is_tunnel(mode))
                    check_tunnel(pool, backend, mode, egress);
                else if (translates(mode) && !has_right_families(pool, backend, mode, use))
                    continue;
                else if (mode == ForwardingMode::nat)
                    check_nat(pool, backend, egress);
                else if (mode == ForwardingMode::dnat)
                    continue;  // the source is the client's
                else
                    off_link_error |= !check_dsr(pool, backend, egress);
            }
            if (off_link_error) continue;
            if (egress.port == nullptr && !asks_kernel_) counts.no_route.add(backend);
            if (egress.port != nullptr && !has_host(*egress.port) && egress.neighbor == nullptr)
                counts.no_mac.add(backend);
            if (backend.port && !taken(use.ports, *backend.port) && has_one_way(modes))
                counts.other_port.add(backend);
        }
        warn(pool, use, counts);
    }

    static bool taken(const std::vector<PortRange>& ports, std::uint16_t port) {
        return std::any_of(ports.begin(), ports.end(), [&](const PortRange& range) {
            return range.any || (range.first <= port && port <= range.last);
        });
    }

    // Modes that translate no ports.
    static bool has_one_way(Modes modes) {
        return modes.reset(bit(ForwardingMode::nat)).reset(bit(ForwardingMode::dnat)).any();
    }

    // Services of another family than the backend's can only be NAT64's: IPv6 to IPv4, in mode nat.
    [[nodiscard]] bool has_right_families(const PoolConfig& pool, const BackendConfig& backend,
                                          ForwardingMode mode, const Use& use) {
        const Family family = backend.address.family();
        const auto wrong = std::ranges::find_if(use.services, [&](const ServiceConfig* service) {
            return mode_of(*service, pool, backend) == mode && service->vip.family() != family &&
                   (mode == ForwardingMode::dnat || family == Family::v6);
        });
        if (wrong == use.services.end()) return true;
        if (!mixed_.insert(&pool).second) return false;
        check_.error(
            backend, "address",
            fmt::format("pool {}: backend {}: mode {} cannot translate service {} ({}) to {}; allowed: "
                        "backends of the VIP's family, IPv4 backends of an IPv6 VIP in mode nat (NAT64), or "
                        "forwarding = \"ipip\" or \"gue\"",
                        in_quotes(pool.name), in_quotes(backend.name), name_of(mode),
                        in_quotes((*wrong)->name), to_text((*wrong)->vip), to_text(backend.address)));
        return false;
    }

    // There is an address to translate to.
    void check_nat(const PoolConfig& pool, const BackendConfig& backend, const Egress& egress) {
        const Family family = backend.address.family();
        const auto has_snat = [&](const PortConfig& port) {
            return std::ranges::any_of(port.snat.addresses,
                                       [&](const IpAddress& address) { return address.family() == family; });
        };
        const auto& ports = check_.config.ports;
        const bool fine =
            egress.port != nullptr ? has_snat(*egress.port) : std::ranges::any_of(ports, has_snat);
        if (fine || ports.empty()) return;
        const PortConfig& port = egress.port != nullptr ? *egress.port : ports.front();
        if (!sourceless_.emplace(&port, family).second) return;
        check_.error(port, "snat",
                     fmt::format("port {}: no {} address in snat, which mode nat (the default) needs as the "
                                 "source of packets to pool {}, backend {} ({}:{}); add one of the port's "
                                 "addresses, as in snat = {{ addresses = [ \"{}\" ]; }}, or choose "
                                 "forwarding = \"dsr\", \"ipip\" or \"gue\"",
                                 in_quotes(port.name), family == Family::v4 ? "IPv4" : "IPv6",
                                 in_quotes(pool.name), in_quotes(backend.name), backend.where.file,
                                 backend.where.line, family == Family::v4 ? "10.1.0.2" : "fd00:1::2"));
    }

    // False if the backend's MAC cannot be found.
    bool check_dsr(const PoolConfig& pool, const BackendConfig& backend, const Egress& egress) {
        if (egress.on_link() || asks_kernel_) return true;
        check_.error(
            backend, "address",
            fmt::format(
                "pool {}: backend {}: address {} is off-link, but mode dsr only changes the MAC; allowed: "
                "an address in a prefix of a port's addresses, an entry in neighbors, or forwarding = "
                "\"ipip\" or \"gue\"",
                in_quotes(pool.name), in_quotes(backend.name), to_text(backend.address)));
        return false;
    }

    void check_tunnel(const PoolConfig& pool, const BackendConfig& backend, ForwardingMode mode,
                      const Egress& egress) {
        const auto& ports = check_.config.ports;
        const PortConfig* port = egress.port != nullptr ? egress.port
                                 : ports.empty()        ? nullptr
                                                        : &ports.front();
        if (port == nullptr) return;
        unsigned& most = overheads_[port];
        most = std::max(most, tunnel_overhead(mode, backend.address.family()));
        if (has_host(*port) || (egress.port == nullptr && asks_kernel_)) return;
        const Family family = backend.address.family();
        const bool has_source =
            std::any_of(port->addresses.begin(), port->addresses.end(),
                        [&](const IpPrefix& prefix) { return prefix.address.family() == family; });
        if (has_source || !sourceless_.emplace(port, family).second) return;
        const char* name = family == Family::v4 ? "IPv4" : "IPv6";
        check_.error(
            *port, "addresses",
            fmt::format(
                "port {}: no {} address, which mode {} needs as the outer source of packets to pool {}, "
                "backend {} ({}:{}); add one to addresses, as in \"{}\"",
                in_quotes(port->name), name, name_of(mode), in_quotes(pool.name), in_quotes(backend.name),
                backend.where.file, backend.where.line,
                family == Family::v4 ? "10.1.0.2/24" : "fd00:1::2/64"));
    }

    void warn(const PoolConfig& pool, const Use& use, const PoolCounts& counts) {
        const std::string name = fmt::format("pool {}: ", in_quotes(pool.name));
        if (counts.no_route.first != nullptr)
            check_.warning(*counts.no_route.first, "address",
                           name + counts.no_route.text() +
                               " has no route: it is in no prefix of a port's addresses, in "
                               "neighbors or in routes; weir run drops its packets "
                               "(no_neighbor), replay sends them out of the first port");
        if (counts.no_mac.first != nullptr)
            check_.warning(*counts.no_mac.first, "address",
                           name + counts.no_mac.text() +
                               " has a next hop without an entry in neighbors, and its port has no host "
                               "interface on which the kernel could ask for its MAC: weir run drops its "
                               "packets (no_neighbor), replay makes a MAC up");
        if (counts.other_port.first != nullptr)
            check_.warning(
                *counts.other_port.first, "port",
                fmt::format(
                    "{}{} has port {}, which is not a port of its services (service {}: {}); ports are "
                    "not translated in modes dsr, ipip and gue",
                    name, counts.other_port.text(), *counts.other_port.first->port,
                    in_quotes(use.services.front()->name), to_text(use.services.front()->ports)));
    }

    void check_mtus() {
        constexpr unsigned kClientMtu = 1'500;
        for (const PortConfig& port : check_.config.ports) {
            const auto found = overheads_.find(&port);
            if (found == overheads_.end() || port.mtu >= kClientMtu + found->second) continue;
            check_.warning(
                port, "mtu",
                fmt::format(
                    "port {}: mtu {} leaves {} bytes for a packet in its tunnel (overhead {}); larger "
                    "ones from clients (up to {}) are dropped: set mtu to {} or more here and in the "
                    "network, or lower the servers' MSS",
                    in_quotes(port.name), port.mtu, port.mtu > found->second ? port.mtu - found->second : 0,
                    found->second, kClientMtu, kClientMtu + found->second));
        }
    }

    CheckContext& check_;
    EgressFinder egress_;
    bool asks_kernel_;  // some port has a host interface
    std::map<std::string_view, Use> uses_;
    std::map<const PortConfig*, unsigned> overheads_;  // the largest of each port
    std::set<std::pair<const PortConfig*, Family>> sourceless_;
    std::set<const PoolConfig*> mixed_;
};

}  // namespace

void check_reachability(CheckContext& check) { ReachRule(check).run(); }

}  // namespace weir
