#include "ctrl/config/validate_config.h"

#include <algorithm>
#include <set>

#include "ctrl/config/validate_rules.h"
#include "dataplane/ids.h"
#include "dataplane/net/address_text.h"

namespace weir {

CheckContext::CheckContext(const Config& checked, CheckScope what, Diagnostics& found)
    : config(checked), scope(what), diagnostics(found) {
    for (const PortConfig& port : config.ports) {
        ports.emplace(port.name, &port);
        for (const IpPrefix& prefix : port.addresses) own_addresses.emplace(prefix.address, &port);
    }
    for (const PoolConfig& pool : config.pools) pools.emplace(pool.name, &pool);
    for (const ServiceConfig& service : config.services) vips.emplace(service.vip, &service);
}

std::string not_built(const std::string& what, ForwardingMode mode) {
    std::string built;
    for (std::size_t i = 0; i < kForwardingModes; ++i)
        if (const auto other = static_cast<ForwardingMode>(i); is_built(other))
            built += fmt::format("{}\"{}\"", built.empty() ? "" : ", ", name_of(other));
    return fmt::format("{}: forwarding = \"{}\" is not built yet; allowed: {}", what, name_of(mode), built);
}

std::optional<std::string> why_no_host(const IpAddress& address) {
    const auto& bytes = address.bytes();
    if (address.is_v4()) {
        if (bytes[0] == 0) return "is in 0.0.0.0/8, which means \"this host\"";
        if (bytes[0] == 127) return "is a loopback address (127.0.0.0/8)";
        if (bytes[0] >= 224 && bytes[0] <= 239) return "is a multicast address (224.0.0.0/4)";
        if (std::all_of(bytes.begin(), bytes.begin() + 4, [](auto byte) { return byte == 255; }))
            return "is the broadcast address";
        return std::nullopt;
    }
    if (bytes[0] == 0xff) return "is a multicast address (ff00::/8)";
    if (!std::all_of(bytes.begin(), bytes.begin() + 10, [](auto byte) { return byte == 0; }))
        return std::nullopt;
    if (bytes[10] == 0xff && bytes[11] == 0xff)
        return "is an IPv4-mapped IPv6 address (::ffff:0:0/96); write the IPv4 address";
    if (!std::all_of(bytes.begin() + 10, bytes.begin() + 15, [](auto byte) { return byte == 0; }))
        return std::nullopt;
    if (bytes[15] == 0) return "is the unspecified address";
    if (bytes[15] == 1) return "is the loopback address";
    return std::nullopt;
}

std::optional<std::string> why_no_host_here(const Config& config, const IpAddress& address) {
    if (!address.is_v4()) return std::nullopt;
    for (const PortConfig& port : config.ports)
        for (const IpPrefix& prefix : port.addresses) {
            if (prefix.length > 30 || !prefix.contains(address)) continue;
            const std::uint32_t host_bits = 0xffff'ffffu >> prefix.length;
            std::uint32_t bits = 0;
            for (std::size_t i = 0; i < 4; ++i) bits = bits << 8 | address.bytes()[i];
            const char* which = (bits & host_bits) == host_bits ? "broadcast"
                                : (bits & host_bits) == 0       ? "network"
                                                                : nullptr;
            if (which != nullptr)
                return fmt::format("is the {} address of {} on port {}", which, to_text(prefix),
                                   in_quotes(port.name));
        }
    return std::nullopt;
}

void check_dataplane(CheckContext& check) {
    const DataplaneConfig& dataplane = check.config.dataplane;
    if (dataplane.workers < 1 || dataplane.workers > kMaxWorkers) {
        // An empty or wrong `cpus` has been reported by the reader.
        if (dataplane.workers != 0)
            check.error(
                dataplane, dataplane.cpus.empty() ? "workers" : "cpus",
                fmt::format("dataplane: {} workers; allowed: 1 to {}", dataplane.workers, kMaxWorkers));
    }
    std::set<unsigned> seen;
    for (const unsigned cpu : dataplane.cpus)
        if (!seen.insert(cpu).second)
            check.error(dataplane, "cpus",
                        fmt::format("dataplane: cpus names CPU {} twice; each worker needs its own", cpu));
    if (!seen.contains(dataplane.control_cpu)) return;
    const std::string message =
        fmt::format("dataplane: control_cpu {} is also one of cpus", dataplane.control_cpu);
    if (dataplane.idle == IdleMode::poll)
        check.error(dataplane, "control_cpu",
                    message +
                        ", which a polling worker never leaves; allowed: another CPU (0 is the default), or "
                        "idle = \"sleep\"");
    else
        check.warning(dataplane, "control_cpu",
                      message + "; under load health and metrics wait for the worker");
}

void check_config(const Config& config, CheckScope scope, Diagnostics& diagnostics) {
    CheckContext check(config, scope, diagnostics);
    check_dataplane(check);
    check_ports(check);
    check_neighbors(check);
    check_routes(check);
    check_pools(check);
    check_client_addresses(check);
    check_services(check);
    if (scope.reachability) check_reachability(check);
}

std::vector<Diagnostic> validate_config(const Config& config) {
    Diagnostics diagnostics;
    check_config(config, {}, diagnostics);
    return diagnostics.take();
}

}  // namespace weir
