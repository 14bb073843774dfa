// pools and their backends. Health checks: read_health_check.cc.

#include <algorithm>
#include <limits>

#include "ctrl/config/config_limits.h"
#include "ctrl/config/read_sections.h"
#include "dataplane/ids.h"
#include "dataplane/net/address_text.h"

namespace weir {

void read_forwarding(GroupReader& group, std::optional<ForwardingMode>& target) {
    const std::vector<std::string_view> names(kForwardingModeNames.begin(), kForwardingModeNames.end());
    if (const auto index = group.choice_of("forwarding", names)) target = static_cast<ForwardingMode>(*index);
}

namespace {

void read_backend(GroupReader& group, PoolConfig& pool) {
    BackendConfig backend;
    backend.where = group.where();
    group.require({"name", "address"});
    read_name(group, "name", backend.name);
    const bool has_address = read_address(group, "address", backend.address);
    group.read("port", {1, 65'535}, backend.port);
    group.read("weight", {0, kMaxWeight}, backend.weight);
    if (group.find("zone") != nullptr) read_name(group, "zone", backend.zone);
    read_forwarding(group, backend.forwarding);
    backend.keys = group.key_lines();
    // An address that is none would be judged as 0.0.0.0, a second mistake that nobody made.
    if (has_address) pool.backends.change().push_back(std::move(backend));
}

void read_stickiness(GroupReader& group, StickinessConfig& stickiness) {
    stickiness.where = group.where();
    group.require({"duration"});
    (void)group.choice_of("type", {"source_ip"});
    group.read("duration", DurationRange{kMinStickiness, kMaxTimeout}, stickiness.duration);
    group.read("prefix_v4", {1, 32}, stickiness.prefix_v4);
    group.read("prefix_v6", {1, 128}, stickiness.prefix_v6);
    stickiness.keys = group.key_lines();
}

void read_minimum_healthy(GroupReader& group, MinimumHealthyConfig& minimum) {
    minimum.where = group.where();
    group.read("count", {0, kMaxMinimumHealthy}, minimum.count);
    group.read("percentage", {0, 100}, minimum.percentage);
    group.read("action",
               {{"fail_open", BelowMinimum::fail_open},
                {"drop", BelowMinimum::drop},
                {"withdraw", BelowMinimum::withdraw}},
               minimum.action);
    minimum.keys = group.key_lines();
}

// How backends come and go.
void read_lifecycle(GroupReader& group, PoolConfig& pool) {
    group.read("deregistration_delay", DurationRange{Duration(0), kMaxTimeout}, pool.deregistration_delay);
    group.read("connection_termination", pool.connection_termination);
    group.read("slow_start", DurationRange{Duration(0), kMaxSlowStart}, pool.slow_start);
    group.read("unhealthy_flows",
               {{"rehash", UnhealthyFlows::rehash},
                {"keep", UnhealthyFlows::keep},
                {"reset", UnhealthyFlows::reset}},
               pool.unhealthy_flows);
    group.read("unhealthy_draining", DurationRange{Duration(0), kMaxTimeout}, pool.unhealthy_draining);
    if (pool.unhealthy_draining != Duration(0) && pool.unhealthy_flows != UnhealthyFlows::keep)
        group.error("unhealthy_draining",
                    "means something only beside unhealthy_flows = \"keep\"; remove it, or add that");
    group.group("minimum_healthy",
                [&](GroupReader& minimum) { read_minimum_healthy(minimum, pool.minimum_healthy); });
    group.read("cross_zone", pool.cross_zone);
}

void read_client_address(GroupReader& group, ClientIdentity& target) {
    const std::vector<std::string_view> names(kClientIdentityNames.begin(), kClientIdentityNames.end());
    if (const auto index = group.choice_of("client_address", names))
        target = static_cast<ClientIdentity>(*index);
}

}  // namespace

void read_pools(GroupReader& root, Config& config) {
    root.each("pools", "pool", kMaxPools, [&](GroupReader& group) {
        PoolConfig& pool = config.pools.emplace_back();
        pool.where = group.where();
        group.require({"name"});
        read_name(group, "name", pool.name);
        group.read("hash",
                   {{"five_tuple", SelectionHash::five_tuple}, {"source_ip", SelectionHash::source_ip}},
                   pool.hash);
        group.read("table_size", {kMinTableSize, kMaxTableSize}, pool.table_size);
        group.group("health_check",
                    [&](GroupReader& check) { read_health_check(check, pool.health_check.emplace()); });
        group.group("stickiness",
                    [&](GroupReader& sticky) { read_stickiness(sticky, pool.stickiness.emplace()); });
        read_lifecycle(group, pool);
        read_client_address(group, pool.client_address);
        read_forwarding(group, pool.forwarding);
        group.each("backends", "backend", std::numeric_limits<std::int32_t>::max(),
                   [&](GroupReader& backend) { read_backend(backend, pool); });
        pool.keys = group.key_lines();
    });
}

}  // namespace weir
