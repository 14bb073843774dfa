// dataplane, timeouts, metrics, control, ports, neighbors, routes. Pools and services: read_pools.cc.
#include "ctrl/config/read_sections.h"

#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "ctrl/config/config_limits.h"
#include "ctrl/config/devices.h"
#include "ctrl/config/setting_text.h"
#include "dataplane/ids.h"
#include "dataplane/net/address_text.h"

namespace weir {

void read_name(GroupReader& group, const char* key, std::string& target) {
    group.read(key, target);
    const libconfig::Setting* setting = group.find(key);
    if (setting == nullptr || setting->getType() != libconfig::Setting::TypeString) return;
    const auto name = check_name(target);
    if (!name) group.error(key, name.error().message);
}

bool read_address(GroupReader& group, const char* key, IpAddress& target) {
    std::string text;
    group.read(key, text);
    group.read(key, target);
    return parse_ip_address(text).has_value();
}

namespace {

void read_mac(GroupReader& group, const char* key, std::optional<MacAddress>& target) {
    const auto parse = [](std::string_view text) -> Result<MacAddress> {
        const auto mac = parse_mac_address(text);
        const std::string allowed = "allowed: six bytes, as in \"02:00:00:00:00:01\"";
        if (!mac) return operator_error(fmt::format("is {}; {}", in_quotes(text), allowed));
        if (mac->is_zero()) return operator_error("is all zero, which no device has; " + allowed);
        if (mac->is_multicast())
            return operator_error(
                fmt::format("is {}, a multicast address; {}, the first byte even", in_quotes(text), allowed));
        return *mac;
    };
    MacAddress mac{};
    group.read_text(key, parse, mac);
    if (!mac.is_zero()) target = mac;
}

// As it will be opened: relative to the configuration's folder, not to where weir was started.
Result<std::string> hash_key_path(std::string_view text, const std::string& folder) {
    if (text.empty())
        return operator_error("is empty; allowed: a file name; without this key weir uses the zero key");
    return (std::filesystem::path(folder) / std::filesystem::path(text)).string();
}

}  // namespace

void read_dataplane(GroupReader& root, const std::string& folder, Config& config) {
    config.dataplane.where = root.where();
    root.group("dataplane", [&](GroupReader& group) {
        DataplaneConfig& dataplane = config.dataplane;
        dataplane.where = group.where();
        const bool has_workers = group.find("workers") != nullptr;
        group.read("workers", {1, kMaxWorkers}, dataplane.workers);
        for (const std::int64_t cpu : group.integers("cpus", {0, kMaxCpu}))
            dataplane.cpus.push_back(static_cast<unsigned>(cpu));
        if (const auto* cpus = group.find("cpus"); cpus != nullptr && cpus->isAggregate()) {
            if (has_workers)
                group.error("cpus", "stands beside workers; keep one: the length of cpus is their number");
            if (cpus->getLength() == 0)
                group.error("cpus", "is empty; allowed: the CPU of each worker, as in [ 2, 3 ]");
            dataplane.workers = static_cast<unsigned>(dataplane.cpus.size());
        }
        group.read("control_cpu", {0, kMaxCpu}, dataplane.control_cpu);
        group.read("hugepages", dataplane.hugepages);
        group.read_size("memory", SizeRange{kMinMemory, kMaxMemory}, dataplane.memory);
        group.read_text(
            "hash_key_file", [&](std::string_view text) { return hash_key_path(text, folder); },
            dataplane.hash_key_file);
        group.read("flows_per_worker", {kMinFlowsPerWorker, kMaxFlowsPerWorker}, dataplane.flows_per_worker);
        group.read("sticky_clients_per_worker", {kMinFlowsPerWorker, kMaxFlowsPerWorker},
                   dataplane.sticky_clients_per_worker);
        group.read("sessions_per_worker", {kMinFlowsPerWorker, kMaxFlowsPerWorker},
                   dataplane.sessions_per_worker);
        group.read("idle", {{"poll", IdleMode::poll}, {"sleep", IdleMode::sleep}}, dataplane.idle);
        dataplane.keys = group.key_lines();
    });
}

void read_timeouts(GroupReader& root, Config& config) {
    root.group("timeouts", [&](GroupReader& group) {
        constexpr DurationRange kAllowed{kMinTimeout, kMaxTimeout};
        group.read("tcp_opening", kAllowed, config.timeouts.tcp_opening);
        group.read("tcp_established", kAllowed, config.timeouts.tcp_established);
        group.read("tcp_closing", kAllowed, config.timeouts.tcp_closing);
        group.read("udp", kAllowed, config.timeouts.udp);
        group.read("nat_tcp_established", kAllowed, config.timeouts.nat_tcp_established);
        group.read("nat_tcp_transitory", kAllowed, config.timeouts.nat_tcp_transitory);
        group.read("nat_tcp_time_wait", kAllowed, config.timeouts.nat_tcp_time_wait);
        group.read("nat_udp", kAllowed, config.timeouts.nat_udp);
    });
}

namespace {

// The metrics server (civetweb in Debian) speaks IPv4 only.
Result<std::string> listen_address(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    const auto address = parse_ip_address(text.substr(0, colon));
    const auto port = colon == std::string_view::npos ? Result<std::vector<PortRange>>(operator_error(""))
                                                      : parse_port_ranges(text.substr(colon + 1));
    const bool one_port =
        port && port->size() == 1 && !port->front().any && port->front().first == port->front().last;
    if (!address || !address->is_v4() || !one_port)
        return operator_error(
            fmt::format("is {}; allowed: IPV4:PORT, as in \"127.0.0.1:9101\"", in_quotes(text)));
    return std::string(text);
}

Result<std::string> absolute_path(std::string_view text) {
    if (text.starts_with('/')) return std::string(text);
    return operator_error(fmt::format("is {}; allowed: an absolute path", in_quotes(text)));
}

Result<std::string> socket_path(std::string_view text) {
    constexpr std::size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
    if (text.size() > kLongest)
        return operator_error(
            fmt::format("has {} bytes; allowed: at most {} (unix(7))", text.size(), kLongest));
    return absolute_path(text);
}

}  // namespace

void read_control(GroupReader& root, Config& config) {
    root.group("control", [&](GroupReader& group) {
        ControlConfig& control = config.control.emplace();
        control.where = group.where();
        group.read_text("socket", socket_path, control.socket);
        group.read_text("state_directory", absolute_path, control.state_directory);
        control.keys = group.key_lines();
    });
}

void read_metrics(GroupReader& root, Config& config) {
    root.group("metrics", [&](GroupReader& group) {
        MetricsConfig& metrics = config.metrics.emplace();
        metrics.where = group.where();
        group.read_text("listen", listen_address, metrics.listen);
        group.read("detail", {{"bounded", false}, {"full", true}}, metrics.full_detail);
        metrics.keys = group.key_lines();
    });
}

namespace {

bool is_pci_address(std::string_view text) {
    // DDDD:BB:DD.F or BB:DD.F
    if (text.size() == 12 && text[4] == ':') {
        if (!std::all_of(text.begin(), text.begin() + 4,
                         [](unsigned char c) { return std::isxdigit(c) != 0; }))
            return false;
        text.remove_prefix(5);
    }
    const auto hex = [&](std::size_t i) { return std::isxdigit(static_cast<unsigned char>(text[i])) != 0; };
    return text.size() == 7 && hex(0) && hex(1) && text[2] == ':' && hex(3) && hex(4) && text[5] == '.' &&
           text[6] >= '0' && text[6] <= '7';
}

Result<std::string> device(std::string_view text) {
    const std::string_view name = text.substr(0, text.find(','));
    const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
    const bool vdev = name.size() > 4 && (name.starts_with("net_") || name.starts_with("eth_"));
    const bool interface =
        printable && !text.empty() && text.size() <= 15 && text.find_first_of("/:,=\"") == text.npos;
    if (printable && (is_pci_address(name) || vdev || interface)) return std::string(text);
    return operator_error(
        fmt::format("is {}; allowed: a PCI address (\"0000:00:06.0\"), a DPDK virtual device "
                    "(\"net_af_packet0,iface=eth1\") or a kernel interface (\"eth1\")",
                    in_quotes(text)));
}

// Captures, rings and the like get no host interface unasked.
std::string default_host_interface(std::string_view device, std::size_t port) {
    return is_network(device) ? fmt::format("weir{}", port) : std::string();
}

// As net/core/dev.c (dev_valid_name) has it, without names that mean something else in /proc/sys/net and to
// TUNSETIFF.
Result<std::string> host_interface(std::string_view text) {
    if (text == "none") return std::string();
    const bool fits = !text.empty() && text.size() <= kMaxInterfaceName;
    const bool special = text == "." || text == ".." || text == "all" || text == "default" || text == "lo";
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
        return c > 0x20 && c < 0x7f && std::string_view("/:%").find(c) == std::string_view::npos;
    });
    if (fits && plain && !special) return std::string(text);
    return operator_error(
        fmt::format("is {}; allowed: a name for a new kernel interface, 1 to {} printable "
                    "characters without blanks, '/', ':' and '%', as in \"weir0\"; or "
                    "\"none\"",
                    in_quotes(text), kMaxInterfaceName));
}

// `addresses`, each by itself: those that parse() takes.
template <class Parse, class Value>
void read_each(GroupReader& group, Parse parse, std::string_view allowed, std::vector<Value>& target) {
    for (const TextAt& text : group.texts("addresses")) {
        if (const auto value = parse(text.text))
            target.push_back(*value);
        else
            group.error_at(text.where,
                           fmt::format("addresses has {}; allowed: {}", in_quotes(text.text), allowed));
    }
}

void read_port_addresses(GroupReader& group, PortConfig& port) {
    read_each(group, parse_ip_prefix, "ADDRESS/LENGTH, as in \"10.1.0.2/24\" or \"fd00:1::2/64\"",
              port.addresses);
    if (port.addresses.size() > kMaxPortAddresses)
        group.error("addresses", fmt::format("has {} entries; allowed: at most {}", port.addresses.size(),
                                             kMaxPortAddresses));
}

// An id, or the two of 802.1ad.
void read_vlan(GroupReader& group, VlanTags& vlan) {
    const libconfig::Setting* setting = group.find("vlan");
    if (setting == nullptr) return;
    if (!setting->isArray() && !setting->isList()) return group.read("vlan", {0, kMaxVlanId}, vlan.outer);
    const auto ids = group.integers("vlan", {kMinVlanId, kMaxVlanId});
    if (setting->getLength() != 2)
        group.error("vlan",
                    fmt::format("has {} ids in brackets; allowed: one without, as in 100, or two, the "
                                "outer one first, as in [ 100, 10 ]",
                                setting->getLength()));
    else if (ids.size() == 2)
        vlan = {static_cast<std::uint16_t>(ids[0]), static_cast<std::uint16_t>(ids[1])};
}

// "32768-65535".
Result<L4PortRange> snat_ports(std::string_view text) {
    constexpr std::string_view allowed = "allowed: a range of ports from 1024 on, as in \"32768-65535\"";
    const auto ranges = parse_port_ranges(text);
    if (!ranges || ranges->size() != 1 || ranges->front().first < kMinSnatPort)
        return operator_error(fmt::format("is {}; {}", in_quotes(text), allowed));
    return L4PortRange{ranges->front().first, ranges->front().last};
}

void read_snat(GroupReader& group, SnatConfig& snat) {
    snat.where = group.where();
    group.require({"addresses"});
    read_each(group, parse_ip_address, "one of the port's addresses, as in \"10.1.0.2\"", snat.addresses);
    group.read_text("ports", snat_ports, snat.ports);
    group.read("exhausted", {{"drop", false}, {"reset", true}}, snat.resets_when_exhausted);
    snat.keys = group.key_lines();
}

}  // namespace

void read_ports(GroupReader& root, Config& config) {
    root.each("ports", "port", kMaxPorts, [&](GroupReader& group) {
        PortConfig& port = config.ports.emplace_back();
        port.where = group.where();
        group.require({"name", "device"});
        read_name(group, "name", port.name);
        group.read_text("device", device, port.device);
        read_port_addresses(group, port);
        read_mac(group, "mac", port.mac);
        group.read("mtu", {kMinMtu, kMaxMtu}, port.mtu);
        read_vlan(group, port.vlan);
        port.host_interface = default_host_interface(port.device, config.ports.size() - 1);
        group.read_text("host_interface", host_interface, port.host_interface);
        group.group("snat", [&](GroupReader& snat) { read_snat(snat, port.snat); });
        port.keys = group.key_lines();
    });
}

void read_neighbors(GroupReader& root, Config& config) {
    root.each("neighbors", "neighbor", kMaxNeighbors, [&](GroupReader& group) {
        NeighborConfig neighbor;
        neighbor.where = group.where();
        group.require({"address", "mac", "port"});
        const bool has_address = read_address(group, "address", neighbor.address);
        std::optional<MacAddress> mac;
        read_mac(group, "mac", mac);
        group.read("port", neighbor.port);
        neighbor.keys = group.key_lines();
        if (!has_address || !mac) return;
        neighbor.mac = *mac;
        config.neighbors.push_back(std::move(neighbor));
    });
}

void read_routes(GroupReader& root, Config& config) {
    root.each("routes", "route", kMaxRoutes, [&](GroupReader& group) {
        RouteConfig route;
        route.where = group.where();
        group.require({"prefix", "via", "port"});
        std::string prefix;
        group.read("prefix", prefix);
        group.read("prefix", route.prefix);
        const bool has_via = read_address(group, "via", route.via);
        group.read("port", route.port);
        route.keys = group.key_lines();
        if (has_via && parse_ip_prefix(prefix)) config.routes.push_back(std::move(route));
    });
}

}  // namespace weir
