// The rules of validate_config by subject, and what they share. Used by validate_*.cc only.
#pragma once

#include <fmt/format.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "ctrl/config/config.h"
#include "ctrl/config/diagnostics.h"
#include "ctrl/config/validate_config.h"

namespace weir {

struct CheckContext {
    CheckContext(const Config& checked, CheckScope what, Diagnostics& found);

    const Config& config;
    CheckScope scope;
    Diagnostics& diagnostics;
    // By name and by address; of duplicates the first.
    std::map<std::string_view, const PortConfig*> ports;
    std::map<std::string_view, const PoolConfig*> pools;
    std::map<IpAddress, const PortConfig*> own_addresses;
    std::map<IpAddress, const ServiceConfig*> vips;

    // `group` is any struct of the configuration with `where` and `keys`.
    template <class Group>
    void error(const Group& group, std::string_view key, std::string message) {
        diagnostics.error(group.keys.of(key, group.where), std::move(message));
    }
    template <class Group>
    void warning(const Group& group, std::string_view key, std::string message) {
        if (scope.warnings) diagnostics.warning(group.keys.of(key, group.where), std::move(message));
    }
    // Reports every entry whose name an earlier one has. `owner` begins the message: "", "pool \"web\": ".
    template <class Groups>
    void unique_names(const Groups& groups, const char* one, const std::string& owner) {
        std::map<std::string_view, const SourceLine*> seen;
        for (const auto& group : groups) {
            if (group.name.empty()) continue;
            const auto [first, is_new] = seen.emplace(group.name, &group.keys.of("name", group.where));
            if (is_new) continue;
            error(group, "name",
                  fmt::format("{}{} {}: the name is taken by {}; names of {}s are unique{}", owner, one,
                              in_quotes(group.name), first->second->text(), one,
                              owner.empty() ? "" : " in their pool"));
        }
    }
};

void check_dataplane(CheckContext& check);  // validate_config.cc
void check_ports(CheckContext& check);      // validate_ports.cc
void check_neighbors(CheckContext& check);
void check_routes(CheckContext& check);
void check_services(CheckContext& check);          // validate_services.cc
void check_pools(CheckContext& check);             // validate_pools.cc
void check_client_addresses(CheckContext& check);  // validate_identity.cc
void check_reachability(CheckContext& check);      // validate_reach.cc

// "WHAT: forwarding = "gre" is not built yet; allowed: ...".
[[nodiscard]] std::string not_built(const std::string& what, ForwardingMode mode);
// Why no host can have this address ("is a multicast address"), or nothing.
[[nodiscard]] std::optional<std::string> why_no_host(const IpAddress& address);
// The same for an address that is the first or last of a subnet that weir is on.
[[nodiscard]] std::optional<std::string> why_no_host_here(const Config& config, const IpAddress& address);

}  // namespace weir
