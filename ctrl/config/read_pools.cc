// pools and services.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "ctrl/config/config_limits.h"
#include "ctrl/config/read_sections.h"
#include "ctrl/config/setting_text.h"
#include "dataplane/ids.h"
#include "dataplane/net/address_text.h"

namespace weir {

using libconfig::Setting;

void read_forwarding(GroupReader& group, std::optional<ForwardingMode>& target) {
    const std::vector<std::string_view> names(kForwardingModeNames.begin(), kForwardingModeNames.end());
    if (const auto index = group.choice_of("forwarding", names)) target = static_cast<ForwardingMode>(*index);
}

namespace {

constexpr IntegerRange kL4Ports{1, 65'535};

bool speaks_http(const std::string& protocol) {
    return protocol == "http" || protocol == "https" || protocol == "grpc";
}

Result<std::string> probe_path(std::string_view text) {
    const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
    if (text.starts_with('/') && text.size() <= 1'024 && printable) return std::string(text);
    return operator_error(
        fmt::format("is {}; allowed: 1 to 1,024 printable characters beginning with /", in_quotes(text)));
}

// Keys that the check's protocol gives no meaning are contradictions.
void check_probe_keys(GroupReader& group, const HealthCheckConfig& check) {
    if (check.protocol.empty()) return;
    for (const char* key : {"path", "matcher"})
        if (group.find(key) != nullptr && !speaks_http(check.protocol))
            group.error(key,
                        fmt::format("means nothing to protocol \"{}\"; remove it, or use http, https or grpc",
                                    check.protocol));
    if (group.find("port") != nullptr && check.protocol == "icmp")
        group.error("port", "means nothing to protocol \"icmp\"; remove it");
    if (check.timeout > check.interval)
        group.error("timeout",
                    fmt::format("is {}, longer than interval, {}; allowed: up to the interval",
                                in_quotes(to_text(check.timeout)), in_quotes(to_text(check.interval))));
}

void read_health_check(GroupReader& group, HealthCheckConfig& check) {
    check.where = group.where();
    group.require({"protocol"});
    const std::vector<std::string_view> protocols = {"tcp", "http", "https", "udp", "grpc", "icmp"};
    if (const auto index = group.choice_of("protocol", protocols)) check.protocol = protocols[*index];
    const bool grpc = check.protocol == "grpc";
    if (grpc) check.matcher = std::string("0");  // OK of grpc.health.v1
    group.read("port", kL4Ports, check.port);
    group.read_text("path", probe_path, check.path);
    group.read_text(
        "matcher",
        [&](std::string_view text) { return check_matcher(text, grpc ? 0 : 100, grpc ? 99 : 599); },
        check.matcher);
    group.read("interval", DurationRange{kMinProbeInterval, kMaxProbeInterval}, check.interval);
    group.read("timeout", DurationRange{kMinProbeTimeout, kMaxProbeInterval}, check.timeout);
    group.read("healthy_threshold", {1, kMaxThreshold}, check.healthy_threshold);
    group.read("unhealthy_threshold", {1, kMaxThreshold}, check.unhealthy_threshold);
    check_probe_keys(group, check);
    check.keys = group.key_lines();
}

void read_backend(GroupReader& group, PoolConfig& pool) {
    BackendConfig backend;
    backend.where = group.where();
    group.require({"name", "address"});
    read_name(group, "name", backend.name);
    const bool has_address = read_address(group, "address", backend.address);
    group.read("port", kL4Ports, backend.port);
    group.read("weight", {0, kMaxWeight}, backend.weight);
    if (group.find("zone") != nullptr) read_name(group, "zone", backend.zone);
    read_forwarding(group, backend.forwarding);
    backend.keys = group.key_lines();
    // An address that is none would be judged as 0.0.0.0, a second mistake that nobody made.
    if (has_address) pool.backends.change().push_back(std::move(backend));
}

// What the contract has and this version has not: only the default passes.
void refuse_unbuilt_pool_keys(GroupReader& group) {
    group.not_built("stickiness", "remove it, or use hash = \"source_ip\" for stateless stickiness");
    group.not_built("minimum_healthy", "remove it");
    bool connection_termination = false, cross_zone = true;
    group.read("connection_termination", connection_termination);
    if (connection_termination)
        group.error("connection_termination", "= true is not built yet; allowed: false");
    group.read("cross_zone", cross_zone);
    if (!cross_zone) group.error("cross_zone", "= false is not built yet; allowed: true");
    Duration slow_start{0};
    group.read("slow_start", DurationRange{Duration(0), kMaxTimeout}, slow_start);
    if (slow_start != Duration(0)) group.error("slow_start", "is not built yet; allowed: \"0s\"");
    const auto only_first = [&](const char* key, const std::vector<std::string_view>& choices) {
        const auto index = group.choice_of(key, choices);
        if (index && *index != 0)
            group.error(
                key, fmt::format("= \"{}\" is not built yet; allowed: \"{}\"", choices[*index], choices[0]));
    };
    only_first("unhealthy_flows", {"rehash", "keep", "reset"});
    only_first("client_address", {"none", "proxy_v1", "proxy_v2", "toa"});
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
        group.read("deregistration_delay", DurationRange{Duration(0), kMaxTimeout},
                   pool.deregistration_delay);
        refuse_unbuilt_pool_keys(group);
        read_forwarding(group, pool.forwarding);
        group.each("backends", "backend", std::numeric_limits<std::int32_t>::max(),
                   [&](GroupReader& backend) { read_backend(backend, pool); });
        pool.keys = group.key_lines();
    });
}

namespace {

void read_protocol(GroupReader& group, ServiceConfig& service) {
    const Setting* setting = group.find("protocol");
    if (setting == nullptr) return;
    std::vector<TextAt> names;
    if (setting->getType() == Setting::TypeString)
        names.push_back({setting->c_str(), group.where_of(*setting)});
    else
        names = group.texts("protocol");
    if (setting->isAggregate() && setting->getLength() == 0)
        group.error("protocol", "is empty; allowed: \"tcp\", \"udp\", [ \"tcp\", \"udp\" ]");
    for (const TextAt& name : names) {
        bool* target = name.text == "tcp" ? &service.tcp : name.text == "udp" ? &service.udp : nullptr;
        if (target == nullptr)
            group.error_at(name.where,
                           fmt::format("protocol is {}; allowed: \"tcp\", \"udp\", [ \"tcp\", \"udp\" ]",
                                       in_quotes(name.text)));
        else if (*target)
            group.error_at(name.where,
                           fmt::format("protocol names {} twice; remove one", in_quotes(name.text)));
        else
            *target = true;
    }
}

// 80, "80,443,8000-8099", "any", [ 80, 443 ], ( 80, "8000-8099" )
void read_service_ports(GroupReader& group, ServiceConfig& service) {
    const Setting* setting = group.find("port");
    if (setting == nullptr) return;
    const auto add = [&](const Setting& element, const std::string& text) {
        const auto ranges = parse_port_ranges(text);
        if (!ranges)
            return group.error_at(group.where_of(element), fmt::format("port {}", ranges.error().message));
        if (ranges->front().any && setting->isAggregate())
            return group.error_at(group.where_of(element), "port has \"any\" in a list; it stands alone");
        service.ports.insert(service.ports.end(), ranges->begin(), ranges->end());
    };
    const auto add_element = [&](const Setting& element) {
        if (element.getType() == Setting::TypeString) return add(element, element.c_str());
        if (element.getType() == Setting::TypeInt)
            return add(element, std::to_string(static_cast<int>(element)));
        group.error_at(group.where_of(element),
                       "port is neither a number nor a text; allowed: 80, "
                       "\"80,443,8000-8099\", \"any\"");
    };
    if (!setting->isAggregate() || setting->isGroup()) return add_element(*setting);
    if (setting->getLength() == 0)
        group.error("port", "is empty; allowed: 80, \"80,443,8000-8099\", \"any\"");
    for (int i = 0; i < setting->getLength(); ++i) add_element((*setting)[i]);
    std::sort(service.ports.begin(), service.ports.end());
}

}  // namespace

void read_services(GroupReader& root, Config& config) {
    root.each("services", "service", kMaxServices, [&](GroupReader& group) {
        ServiceConfig service;
        service.where = group.where();
        group.require({"name", "vip", "protocol", "port", "pool"});
        read_name(group, "name", service.name);
        const bool has_vip = read_address(group, "vip", service.vip);
        read_protocol(group, service);
        read_service_ports(group, service);
        std::optional<ForwardingMode> forwarding;
        read_forwarding(group, forwarding);
        // Misspelt, it must not be judged as the default.
        const bool has_mode = forwarding || group.find("forwarding") == nullptr;
        service.forwarding = forwarding.value_or(service.forwarding);
        group.read("pool", service.pool);
        group.not_built("security", "remove it and filter upstream, or in the servers");
        service.keys = group.key_lines();
        if (has_vip && has_mode) config.services.push_back(std::move(service));
    });
}

}  // namespace weir
