// The configuration as a plain value: what read_config makes of a file, what validate_config judges, what
// diff_config compares and compile_snapshot turns into tables. No pointers, no libconfig types.
//
// Every struct remembers the line it came from (`where`), so that later rules can name it.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ctrl/config/shared_list.h"
#include "dataplane/net/address.h"
#include "dataplane/tables/forwarding_mode.h"

namespace weir {

// FILE:LINE of a setting.
struct SourceLine {
    std::string file;
    unsigned line = 0;
    // Two configurations are the same whatever line their settings stand on.
    friend constexpr bool operator==(const SourceLine&, const SourceLine&) noexcept { return true; }
};

// Lines of the keys of a group that stand on other lines than the group begins on: a rule about one key names
// that key's line. Empty for a group written on one line, and in a configuration that was not read from text.
class KeyLines {
  public:
    // `key` outlives this: a literal.
    void add(std::string_view key, SourceLine where) { lines_.emplace_back(key, std::move(where)); }
    [[nodiscard]] const SourceLine& of(std::string_view key, const SourceLine& group) const {
        for (const auto& [name, where] : lines_)
            if (name == key) return where;
        return group;
    }
    friend bool operator==(const KeyLines&, const KeyLines&) noexcept { return true; }

  private:
    std::vector<std::pair<std::string_view, SourceLine>> lines_;
};

using Duration = std::chrono::milliseconds;

enum class IdleMode : std::uint8_t { poll, sleep };

struct DataplaneConfig {
    SourceLine where;
    unsigned workers = 1;
    std::vector<unsigned> cpus;  // empty: weir picks `workers` CPUs
    unsigned control_cpu = 0;
    bool hugepages = true;
    std::uint64_t memory = 1ull << 30;  // bytes
    std::string hash_key_file;          // empty: the zero key
    std::uint64_t flows_per_worker = 1'048'576;
    IdleMode idle = IdleMode::poll;
    KeyLines keys;
    bool operator==(const DataplaneConfig&) const = default;
};

struct TimeoutsConfig {
    Duration tcp_opening{10'000}, tcp_established{350'000}, tcp_closing{10'000}, udp{120'000};
    bool operator==(const TimeoutsConfig&) const = default;
};

struct PortConfig {
    SourceLine where;
    std::string name;
    std::string device;  // PCI address, or DPDK vdev string
    std::vector<IpPrefix> addresses;
    std::optional<MacAddress> mac;  // absent: the device's own
    std::uint16_t mtu = 1500;
    std::string host_interface;  // the kernel's name for the port's twin; empty: the port has none
    KeyLines keys;
    bool operator==(const PortConfig&) const = default;
};

struct NeighborConfig {
    SourceLine where;
    IpAddress address;
    MacAddress mac;
    std::string port;
    KeyLines keys;
    bool operator==(const NeighborConfig&) const = default;
};

struct RouteConfig {
    SourceLine where;
    IpPrefix prefix;
    IpAddress via;
    std::string port;
    KeyLines keys;
    bool operator==(const RouteConfig&) const = default;
};

enum class SelectionHash : std::uint8_t { five_tuple, source_ip };

// Parsed and kept from spine A on; probes are built in spine D.
struct HealthCheckConfig {
    SourceLine where;
    std::string protocol;
    std::optional<std::uint16_t> port;
    std::string path = "/";
    std::string matcher = "200-399";
    Duration interval{5'000}, timeout{2'000};
    unsigned healthy_threshold = 3, unhealthy_threshold = 2;
    KeyLines keys;
    bool operator==(const HealthCheckConfig&) const = default;
};

struct BackendConfig {
    SourceLine where;
    std::string name;
    IpAddress address;
    std::optional<std::uint16_t> port;
    unsigned weight = 1;  // 0: no new flows
    std::string zone;
    std::optional<ForwardingMode> forwarding;  // overrides pool and service
    KeyLines keys;
    bool operator==(const BackendConfig&) const = default;
};

struct PoolConfig {
    SourceLine where;
    std::string name;
    SelectionHash hash = SelectionHash::five_tuple;
    std::optional<std::uint32_t> table_size;  // Maglev M; absent: 65,537, or the next prime >= 100 N
    std::optional<HealthCheckConfig> health_check;
    Duration deregistration_delay{300'000};
    std::optional<ForwardingMode> forwarding;  // overrides the service's
    SharedList<BackendConfig> backends;
    KeyLines keys;
    bool operator==(const PoolConfig&) const = default;
};

// A closed range of L4 ports; 1-65535 stands for "any" only if `any` is set (weakest match).
struct PortRange {
    std::uint16_t first = 0, last = 0;
    bool any = false;
    auto operator<=>(const PortRange&) const = default;
};

struct ServiceConfig {
    SourceLine where;
    std::string name;
    IpAddress vip;
    bool tcp = false, udp = false;
    std::vector<PortRange> ports;
    ForwardingMode forwarding = ForwardingMode::nat;
    std::string pool;
    KeyLines keys;
    bool operator==(const ServiceConfig&) const = default;
};

struct MetricsConfig {
    SourceLine where;
    std::string listen = "127.0.0.1:9101";
    bool full_detail = false;  // metrics.detail = "full"
    KeyLines keys;
    bool operator==(const MetricsConfig&) const = default;
};

struct Config {
    SourceLine where;  // line 1 of the file
    std::string file;
    DataplaneConfig dataplane;
    std::string zone;
    TimeoutsConfig timeouts;
    std::vector<PortConfig> ports;
    std::vector<NeighborConfig> neighbors;
    std::vector<RouteConfig> routes;
    std::vector<PoolConfig> pools;
    std::vector<ServiceConfig> services;
    std::optional<MetricsConfig> metrics;  // absent: the defaults, if that listener can be had
    KeyLines keys;
    bool operator==(const Config&) const = default;
};

// One sentence for the operator. Errors refuse the configuration, warnings do not.
struct Diagnostic {
    enum class Severity : std::uint8_t { error, warning };
    Severity severity = Severity::error;
    SourceLine where;
    std::string message;  // what is wrong, and what is allowed
    // "FILE:LINE: MESSAGE", warnings as "FILE:LINE: warning: MESSAGE"
    [[nodiscard]] std::string text() const;
};

struct ConfigResult {
    std::optional<Config> config;  // absent if any diagnostic is an error
    std::vector<Diagnostic> diagnostics;
};

}  // namespace weir
