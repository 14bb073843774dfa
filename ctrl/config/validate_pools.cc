// pools and their backends, without where the backends are: validate_reach.cc.
#include <algorithm>
#include <map>

#include "ctrl/config/first_services.h"
#include "ctrl/config/validate_rules.h"
#include "dataplane/ids.h"
#include "dataplane/net/address_text.h"
#include "dataplane/tables/maglev_table.h"

namespace weir {
namespace {

std::string name_of(const PoolConfig& pool) { return fmt::format("pool {}", in_quotes(pool.name)); }

void refuse_unbuilt(CheckContext& check, const auto& group, const std::string& what) {
    if (group.forwarding && !is_built(*group.forwarding))
        check.error(group, "forwarding", not_built(what, *group.forwarding));
}

void check_backend(CheckContext& check, const PoolConfig& pool, const BackendConfig& backend) {
    const std::string name = fmt::format("{}: backend {}", name_of(pool), in_quotes(backend.name));
    const std::string what = fmt::format("{}: address {}", name, to_text(backend.address));
    auto why = why_no_host(backend.address);
    if (!why) why = why_no_host_here(check.config, backend.address);
    if (why) check.error(backend, "address", fmt::format("{} {}; allowed: a server's address", what, *why));
    if (const auto own = check.own_addresses.find(backend.address); own != check.own_addresses.end())
        check.error(backend, "address",
                    fmt::format("{} is weir's own, on port {}; packets would come back to weir", what,
                                in_quotes(own->second->name)));
    if (const auto vip = check.vips.find(backend.address); vip != check.vips.end())
        check.error(backend, "address",
                    fmt::format("{} is the VIP of service {} ({}); packets would come back to weir", what,
                                in_quotes(vip->second->name), vip->second->where.text()));
    refuse_unbuilt(check, backend, name);
}

void check_table_size(CheckContext& check, const PoolConfig& pool) {
    if (!pool.table_size) return;
    const std::uint32_t size = *pool.table_size;
    if (!MaglevTable::is_prime(size)) {
        std::uint32_t next = size;
        while (!MaglevTable::is_prime(next)) ++next;
        check.error(
            pool, "table_size",
            fmt::format("{}: table_size {} is not prime; the next prime is {}", name_of(pool), size, next));
    } else if (size < pool.backends.size()) {
        check.error(pool, "table_size",
                    fmt::format("{}: table_size {} is less than its {} backends; allowed: a prime of "
                                "at least 100 for each backend",
                                name_of(pool), size, pool.backends.size()));
    } else if (size < 100 * pool.backends.size()) {
        check.warning(pool, "table_size",
                      fmt::format("{}: table_size {} gives {} backends fewer than 100 slots each; "
                                  "shares differ by more than 1 %",
                                  name_of(pool), size, pool.backends.size()));
    }
}

void check_members(CheckContext& check, const PoolConfig& pool) {
    if (pool.backends.size() > MaglevTable::kMaxMembers)
        check.error(pool, "backends",
                    fmt::format("{}: {} backends; allowed: at most {} in a pool", name_of(pool),
                                grouped(static_cast<std::int64_t>(pool.backends.size())),
                                grouped(MaglevTable::kMaxMembers)));
    if (pool.backends.empty())
        return check.warning(
            pool, "backends",
            fmt::format("{}: no backends; its services drop every packet (no_backend)", name_of(pool)));
    const bool idle = std::all_of(pool.backends.begin(), pool.backends.end(),
                                  [](const BackendConfig& b) { return b.weight == 0 || b.drained; });
    if (idle)
        check.warning(
            pool, "backends",
            fmt::format("{}: every backend has weight 0 or is drained; its services take no new flows",
                        name_of(pool)));
    std::map<IpAddress, const BackendConfig*> seen;
    for (const BackendConfig& backend : pool.backends) {
        const auto [first, is_new] = seen.emplace(backend.address, &backend);
        if (!is_new && first->second->port == backend.port)
            check.warning(backend, "address",
                          fmt::format("{}: backend {} has the address and port of backend {} ({}); "
                                      "that server gets both shares",
                                      name_of(pool), in_quotes(backend.name), in_quotes(first->second->name),
                                      first->second->where.text()));
    }
}

// via = "vip": the way of the first service's traffic has to be one that a probe can take.
void check_way_of_probes(CheckContext& check, const PoolConfig& pool, const ServiceConfig* first) {
    // icmp: read_health_check.cc has said already that it means nothing.
    if (!pool.health_check || pool.health_check->via != ProbePath::vip ||
        pool.health_check->protocol == ProbeProtocol::icmp)
        return;
    const HealthCheckConfig& probe = *pool.health_check;
    if (std::ranges::all_of(check.config.ports,
                            [](const PortConfig& port) { return port.host_interface.empty(); }))
        check.error(probe, "via",
                    fmt::format("{}: health_check: via = \"vip\" needs a port with a host_interface for the "
                                "probes to leave by; give a port one, or set via = \"direct\"",
                                name_of(pool)));
    if (first == nullptr) return;
    for (const BackendConfig& backend : pool.backends) {
        const ForwardingMode mode = mode_of(*first, pool, backend);
        if (mode != ForwardingMode::nat && mode != ForwardingMode::dnat) continue;
        return check.error(
            probe, "via",
            fmt::format("{}: health_check: via = \"vip\" means nothing in mode \"{}\" (backend {}), in which "
                        "servers get what is sent to their own address; allowed: \"direct\", or forwarding = "
                        "\"dsr\", \"ipip\", \"gue\", \"gre\", \"geneve\"",
                        name_of(pool), name_of(mode), in_quotes(backend.name)));
    }
    for (const ServiceConfig& service : check.config.services) {
        const bool same_mode = pool.forwarding || service.forwarding == first->forwarding;
        if (service.pool != pool.name || (same_mode && service.vip.family() == first->vip.family())) continue;
        return check.warning(
            probe, "via",
            fmt::format(
                "{}: health_check: via = \"vip\" sees the way of service {} alone, and {} of service {} "
                "is another; give each a pool of its own, or nobody sees that way fail",
                name_of(pool), in_quotes(first->name), same_mode ? "the address family" : "the mode",
                in_quotes(service.name)));
    }
}

// Whether what is said of health and zones can mean anything.
void check_lifecycle(CheckContext& check, const PoolConfig& pool) {
    const MinimumHealthyConfig& minimum = pool.minimum_healthy;
    if (minimum.count > pool.backends.size() && !pool.backends.empty() && minimum.count > 1)
        check.warning(
            minimum, "count",
            fmt::format("{}: minimum_healthy.count {} is more than its {} backends: it is below its "
                        "minimum whatever their health",
                        name_of(pool), minimum.count, pool.backends.size()));
    if (!pool.cross_zone && check.config.zone.empty())
        check.error(
            pool, "cross_zone",
            fmt::format("{}: cross_zone = false, but weir does not know its own zone; set zone = \"...\" "
                        "at the top of the file",
                        name_of(pool)));
    const bool no_member_near =
        std::none_of(pool.backends.begin(), pool.backends.end(),
                     [&](const BackendConfig& backend) { return backend.zone == check.config.zone; });
    if (!pool.cross_zone && !check.config.zone.empty() && !pool.backends.empty() && no_member_near)
        check.warning(
            pool, "cross_zone",
            fmt::format("{}: cross_zone = false, but no backend is in weir's zone {}; those of other "
                        "zones get the traffic",
                        name_of(pool), in_quotes(check.config.zone)));
    if (!pool.health_check && (minimum.action != BelowMinimum::fail_open || pool.slow_start != Duration(0)))
        check.warning(pool, "health_check",
                      fmt::format("{}: has no health_check, so minimum_healthy and slow_start act on "
                                  "registration alone",
                                  name_of(pool)));
    if (pool.stickiness && pool.hash == SelectionHash::source_ip)
        check.warning(
            *pool.stickiness, "",
            fmt::format("{}: hash = \"source_ip\" beside stickiness: stickiness chooses by the client's "
                        "prefix already",
                        name_of(pool)));
}

}  // namespace

void check_pools(CheckContext& check) {
    const Config& config = check.config;
    check.unique_names(config.pools, "pool", "");
    const auto first = first_services(config);
    std::size_t backends = 0;
    for (const PoolConfig& pool : config.pools) {
        backends += pool.backends.size();
        check.unique_names(pool.backends, "backend", name_of(pool) + ": ");
        for (const BackendConfig& backend : pool.backends) check_backend(check, pool, backend);
        refuse_unbuilt(check, pool, name_of(pool));
        check_table_size(check, pool);
        check_members(check, pool);
        const auto use = first.find(pool.name);
        check_way_of_probes(check, pool, use != first.end() ? use->second : nullptr);
        if (use == first.end())
            check.warning(pool, "name",
                          fmt::format("{}: no service uses it; its backends are unused", name_of(pool)));
        check_lifecycle(check, pool);
    }
    if (backends > kMaxBackends)
        check.error(config, "pools",
                    fmt::format("{} backends in all pools; allowed: at most {}",
                                grouped(static_cast<std::int64_t>(backends)), grouped(kMaxBackends)));
}

}  // namespace weir
