// client_address: where it can mean something, and for which protocols.
#include <map>

#include "ctrl/config/validate_rules.h"

namespace weir {
namespace {

// The first backend that a service reaches in another mode than nat; null: none.
const BackendConfig* reached_otherwise(const ServiceConfig& service, const PoolConfig& pool) {
    for (const BackendConfig& backend : pool.backends)
        if (mode_of(service, pool, backend) != ForwardingMode::nat) return &backend;
    return nullptr;
}

bool uses_nat(const ServiceConfig& service, const PoolConfig& pool) {
    if (pool.backends.empty()) return pool.forwarding.value_or(service.forwarding) == ForwardingMode::nat;
    for (const BackendConfig& backend : pool.backends)
        if (mode_of(service, pool, backend) == ForwardingMode::nat) return true;
    return false;
}

// True: all is well.
bool check_use(CheckContext& check, const PoolConfig& pool, const ServiceConfig& service) {
    const std::string_view identity = kClientIdentityNames[static_cast<std::size_t>(pool.client_address)];
    if (const BackendConfig* other = reached_otherwise(service, pool)) {
        check.error(pool, "client_address",
                    fmt::format("pool {}: client_address = \"{}\" means nothing in mode \"{}\" (service {}, "
                                "backend {}), in which servers see the client's own address; allowed: "
                                "\"none\", or forwarding = \"nat\"",
                                in_quotes(pool.name), identity, name_of(mode_of(service, pool, *other)),
                                in_quotes(service.name), in_quotes(other->name)));
        return false;
    }
    if (!service.udp || pool.client_address == ClientIdentity::proxy_v2 || !uses_nat(service, pool))
        return true;
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
