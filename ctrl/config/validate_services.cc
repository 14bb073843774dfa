// services: VIPs, pools, modes, and two services on one L4 port.
#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>

#include "ctrl/config/setting_text.h"
#include "ctrl/config/validate_rules.h"
#include "dataplane/ids.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

std::string name_of(const ServiceConfig& service) {
    return fmt::format("service {}", in_quotes(service.name));
}

void check_vip(CheckContext& check, const ServiceConfig& service) {
    const std::string what = fmt::format("{}: vip {}", name_of(service), to_text(service.vip));
    auto why = why_no_host(service.vip);
    if (!why) why = why_no_host_here(check.config, service.vip);
    if (why)
        check.error(service, "vip",
                    fmt::format("{} {}; allowed: an address that clients can dial", what, *why));
    const auto own = check.own_addresses.find(service.vip);
    if (own != check.own_addresses.end() && own->second->host_interface.empty())
        check.error(service, "vip",
                    fmt::format("{} is also an address of port {}, which has no host_interface to keep it: "
                                "choose another, or give the port one",
                                what, in_quotes(own->second->name)));
}

void check_pool_and_mode(CheckContext& check, const ServiceConfig& service) {
    const auto pool = check.pools.find(service.pool);
    if (pool == check.pools.end() && !service.pool.empty()) {
        std::vector<std::string_view> names;
        for (const auto& [name, unused] : check.pools) names.push_back(name);
        const std::string_view meant = nearest(service.pool, names);
        check.error(service, "pool",
                    fmt::format("{}: pool {} is not in pools{}", name_of(service), in_quotes(service.pool),
                                meant.empty() ? "" : fmt::format("; did you mean {}?", in_quotes(meant))));
    }
    if (is_built(service.forwarding)) return;
    check.error(service, "forwarding", not_built(name_of(service), service.forwarding));
}

// One protocol and range that a service takes on its VIP.
struct Claim {
    std::size_t service;
    bool udp;
    PortRange ports;
    // An exact port beats a range, a range beats "any": only equals contradict each other.
    [[nodiscard]] int strength() const { return ports.any ? 2 : ports.first == ports.last ? 0 : 1; }
};

class OverlapRule {
  public:
    explicit OverlapRule(CheckContext& check) : check_(check), services_(check.config.services) {}

    void run() {
        std::vector<Claim> claims;
        for (std::size_t i = 0; i < services_.size(); ++i)
            for (const bool udp : {false, true})
                if (udp ? services_[i].udp : services_[i].tcp)
                    for (const PortRange& range : services_[i].ports) claims.push_back({i, udp, range});
        const auto order = [&](const Claim& claim) {
            return std::make_tuple(services_[claim.service].vip, claim.udp, claim.strength(),
                                   claim.ports.first, claim.service);
        };
        std::sort(claims.begin(), claims.end(),
                  [&](const Claim& a, const Claim& b) { return order(a) < order(b); });
        // Sorted by their first port, a claim overlaps an earlier one exactly if it begins before the
        // furthest end so far.
        const Claim* furthest = nullptr;
        for (const Claim& claim : claims) {
            const bool same = furthest != nullptr && furthest->udp == claim.udp &&
                              furthest->strength() == claim.strength() &&
                              services_[furthest->service].vip == services_[claim.service].vip;
            if (same && claim.ports.first <= furthest->ports.last) report(*furthest, claim);
            if (!same || claim.ports.last > furthest->ports.last) furthest = &claim;
        }
    }

  private:
    void report(const Claim& a, const Claim& b) {
        const auto [first, second] = std::minmax(a.service, b.service);
        if (!reported_.emplace(first, second).second) return;
        const ServiceConfig& earlier = services_[first];
        const ServiceConfig& later = services_[second];
        const std::string ports = to_text(std::vector<PortRange>{
            {std::max(a.ports.first, b.ports.first), std::min(a.ports.last, b.ports.last), a.ports.any}});
        if (first == second)
            return check_.error(later, "port",
                                fmt::format("{}: port has {} twice; remove one", name_of(later), ports));
        check_.error(later, "port",
                     fmt::format("{}: {} {} port {} is taken by {} ({}:{}); allowed: another VIP, protocol "
                                 "or port, or a single port inside a range or \"any\"",
                                 name_of(later), to_text(later.vip), a.udp ? "udp" : "tcp", ports,
                                 name_of(earlier), earlier.where.file, earlier.where.line));
    }

    CheckContext& check_;
    const std::vector<ServiceConfig>& services_;
    std::set<std::pair<std::size_t, std::size_t>> reported_;
};

}  // namespace

void check_services(CheckContext& check) {
    const Config& config = check.config;
    if (config.services.size() > kMaxServices)
        check.error(
            config, "services",
            fmt::format("{} services; allowed: at most {}", config.services.size(), grouped(kMaxServices)));
    if (config.services.empty()) check.warning(config, "services", "no services: nothing is forwarded");
    check.unique_names(config.services, "service", "");
    for (const ServiceConfig& service : config.services) {
        check_vip(check, service);
        check_pool_and_mode(check, service);
    }
    OverlapRule(check).run();
}

}  // namespace weir
