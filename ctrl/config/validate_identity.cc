// client_address: where it can mean something, and for which protocols.
#include <algorithm>
#include <map>
#include <vector>

#include "ctrl/config/validate_rules.h"

namespace weir {
namespace {

// A mode in which a service reaches the pool, and which backend in it; null: those that have no mode of their
// own.
struct Way {
    ForwardingMode mode;
    const BackendConfig* backend;
};

std::vector<Way> ways_of(const ServiceConfig& service, const PoolConfig& pool) {
    std::vector<Way> ways;
    const auto add = [&ways](ForwardingMode mode, const BackendConfig* backend) {
        if (std::ranges::find(ways, mode, &Way::mode) == ways.end()) ways.push_back({mode, backend});
    };
    for (const BackendConfig& backend : pool.backends) add(mode_of(service, pool, backend), &backend);
    if (pool.backends.empty()) add(pool.forwarding.value_or(service.forwarding), nullptr);
    return ways;
}

// False, and it is said, if something is wrong.
bool check_use(CheckContext& check, const PoolConfig& pool, const ServiceConfig& service) {
    const std::string_view identity = kClientIdentityNames[static_cast<std::size_t>(pool.client_address)];
    const std::vector<Way> ways = ways_of(service, pool);
    const auto other =
        std::ranges::find_if(ways, [](const Way& way) { return way.mode != ForwardingMode::nat; });
    if (other != ways.end()) {
        const std::string backend =
            other->backend == nullptr ? "" : fmt::format(", backend {}", in_quotes(other->backend->name));
        check.error(
            pool, "client_address",
            fmt::format("pool {}: client_address = \"{}\" means nothing in mode \"{}\" (service {}{}), "
                        "in which servers see the client's own address; allowed: \"none\", or "
                        "forwarding = \"nat\"",
                        in_quotes(pool.name), identity, name_of(other->mode), in_quotes(service.name),
                        backend));
        return false;
    }
    if (!service.udp || pool.client_address == ClientIdentity::proxy_v2) return true;
    check.error(
        pool, "client_address",
        fmt::format("pool {}: client_address = \"{}\" is for TCP alone, and service {} ({}) takes UDP "
                    "too; allowed for UDP: \"proxy_v2\" or \"none\"; or give TCP a pool of its own",
                    in_quotes(pool.name), identity, in_quotes(service.name), service.where.text()));
    return false;
}

}  // namespace

void check_client_addresses(CheckContext& check) {
    std::multimap<std::string_view, const ServiceConfig*> uses;
    for (const ServiceConfig& service : check.config.services) uses.emplace(service.pool, &service);
    for (const PoolConfig& pool : check.config.pools) {
        if (pool.client_address == ClientIdentity::none) continue;
        const auto [first, last] = uses.equal_range(pool.name);
        for (auto use = first; use != last; ++use)
            if (!check_use(check, pool, *use->second)) break;
    }
}

}  // namespace weir
