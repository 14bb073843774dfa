// The configuration as a plain value: what read_config makes of a file, what validate_config judges, what
// diff_config compares and compile_snapshot turns into tables. No pointers, no libconfig types.
//
// Every struct remembers the line it came from (`where`), so that later rules can name it.
#pragma once

#include <array>
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
#include "dataplane/net/client_identity.h"
#include "dataplane/net/vlan_tags.h"
#include "dataplane/tables/forwarding_mode.h"
#include "dataplane/tables/snat_ports.h"

namespace weir {

// FILE:LINE of a setting.
struct SourceLine {
    std::string file;
    unsigned line = 0;
    // Two configurations are the same whatever line their settings stand on.
    friend constexpr bool operator==(const SourceLine&, const SourceLine&) noexcept { return true; }
    // "FILE:LINE"; without a line, what stands in the file's place ("run-time change").
    [[nodiscard]] std::string text() const;
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
    std::uint64_t sticky_clients_per_worker = 262'144;
    std::uint64_t sessions_per_worker = 262'144;  // of modes nat and dnat
    IdleMode idle = IdleMode::poll;
    KeyLines keys;
    bool operator==(const DataplaneConfig&) const = default;
};

struct TimeoutsConfig {
    Duration tcp_opening{10'000}, tcp_established{350'000}, tcp_closing{10'000}, udp{120'000};
    // Of sessions (mode nat): RFC 5382 REQ-5, RFC 4787 REQ-5.
    Duration nat_tcp_established{7'440'000}, nat_tcp_transitory{240'000}, nat_udp{300'000};
    Duration nat_tcp_time_wait{60'000};
    bool operator==(const TimeoutsConfig&) const = default;
};

// What mode nat translates to, out of a port. No addresses: nothing is.
struct SnatConfig {
    SourceLine where;
    std::vector<IpAddress> addresses;  // of the port's `addresses`
    L4PortRange ports;
    bool resets_when_exhausted = false;  // a client for whom no port is left gets a RST
    KeyLines keys;
    bool operator==(const SnatConfig&) const = default;
};

struct PortConfig {
    SourceLine where;
    std::string name;
    std::string device;  // PCI address, or DPDK vdev string; shared by ports that differ in `vlan`
    std::vector<IpPrefix> addresses;
    std::optional<MacAddress> mac;  // absent: the device's own
    std::uint16_t mtu = 1500;
    VlanTags vlan;
    std::string host_interface;  // the kernel's name for the port's twin; empty: the port has none
    SnatConfig snat;
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

enum class ProbeProtocol : std::uint8_t { tcp, http, https, udp, grpc, icmp };
inline constexpr std::array<std::string_view, 6> kProbeProtocolNames = {"tcp", "http", "https",
                                                                        "udp", "grpc", "icmp"};
constexpr std::string_view name_of(ProbeProtocol protocol) noexcept {
    return kProbeProtocolNames[static_cast<std::size_t>(protocol)];
}

// Where a probe goes: to the backend's own address, or to the VIP as the traffic does, in the backend's mode.
enum class ProbePath : std::uint8_t { direct, vip };

struct HealthCheckConfig {
    SourceLine where;
    ProbeProtocol protocol = ProbeProtocol::tcp;
    ProbePath via = ProbePath::direct;
    std::optional<std::uint16_t> port;  // absent: the backend's, else that of the first service of the pool
    std::string path = "/";             // http, https
    std::string host;                   // Host header and SNI; empty: the backend's address, no SNI
    std::string method = "GET";         // http, https: GET or HEAD
    std::string matcher = "200-399";    // http, https: status codes; grpc: status codes of the call
    std::string body;                   // http, https: a text that the answer's body contains; empty: any
    std::string send, expect;           // udp: payload, and what the answer begins with (empty: any answer)
    std::string grpc_service;           // grpc.health.v1: HealthCheckRequest.service; empty: the server
    bool verify = false;                // https: the certificate's chain and name
    std::string ca_file;                // https with verify; empty: the system's
    Duration interval{5'000}, timeout{2'000};
    unsigned healthy_threshold = 3, unhealthy_threshold = 2;
    bool passive = false;  // signs of trouble in the traffic bring the next probe forward
    KeyLines keys;
    bool operator==(const HealthCheckConfig&) const = default;
};

struct StickinessConfig {
    SourceLine where;
    Duration duration{600'000};
    unsigned prefix_v4 = 32, prefix_v6 = 64;
    KeyLines keys;
    bool operator==(const StickinessConfig&) const = default;
};

// What becomes of the known flows of a backend that turns unhealthy.
enum class UnhealthyFlows : std::uint8_t { rehash, keep, reset };
inline constexpr std::array<std::string_view, 3> kUnhealthyFlowsNames = {"rehash", "keep", "reset"};

// What a pool does with fewer healthy backends than its minimum.
enum class BelowMinimum : std::uint8_t { fail_open, drop, withdraw };
inline constexpr std::array<std::string_view, 3> kBelowMinimumNames = {"fail_open", "drop", "withdraw"};

struct MinimumHealthyConfig {
    SourceLine where;
    unsigned count = 1, percentage = 0;  // both must be met; of the registered backends of weight > 0
    BelowMinimum action = BelowMinimum::fail_open;
    KeyLines keys;
    bool operator==(const MinimumHealthyConfig&) const = default;
};

struct BackendConfig {
    SourceLine where;
    std::string name;
    IpAddress address;
    std::optional<std::uint16_t> port;
    unsigned weight = 1;  // 0: no new flows
    std::string zone;
    std::optional<ForwardingMode> forwarding;  // overrides pool and service
    // Administratively out of service: no new flows, known ones as for a removal. Never from the file, only
    // by a run-time change (ctrl/changes).
    bool drained = false;
    KeyLines keys;
    bool operator==(const BackendConfig&) const = default;
};

// How operators name a backend, whatever its address.
struct BackendKey {
    std::string pool, name;
    friend auto operator<=>(const BackendKey&, const BackendKey&) = default;
};

struct PoolConfig {
    SourceLine where;
    std::string name;
    SelectionHash hash = SelectionHash::five_tuple;
    std::optional<std::uint32_t> table_size;  // Maglev M; absent: 65,537, or the next prime >= 100 N
    std::optional<HealthCheckConfig> health_check;
    std::optional<StickinessConfig> stickiness;
    Duration deregistration_delay{300'000};
    bool connection_termination = false;  // flows that are left at the end of the delay are cut
    Duration slow_start{0};
    UnhealthyFlows unhealthy_flows = UnhealthyFlows::rehash;
    Duration unhealthy_draining{0};  // with keep: how long; 0: as long as they last
    MinimumHealthyConfig minimum_healthy;
    bool cross_zone = true;
    ClientIdentity client_address = ClientIdentity::none;  // how mode nat names the client
    std::optional<ForwardingMode> forwarding;              // overrides the service's
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

struct ControlConfig {
    SourceLine where;
    std::string socket = "/run/weir/control.sock";
    std::string state_directory = "/var/lib/weir";  // the journal of run-time changes, the last health states
    KeyLines keys;
    bool operator==(const ControlConfig&) const = default;
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
    std::optional<ControlConfig> control;  // absent: the defaults, if they can be had
    KeyLines keys;
    bool operator==(const Config&) const = default;
};

// The mode in which a service's packets reach a backend of its pool.
[[nodiscard]] inline ForwardingMode mode_of(const ServiceConfig& service, const PoolConfig& pool,
                                            const BackendConfig& backend) {
    return backend.forwarding.value_or(pool.forwarding.value_or(service.forwarding));
}

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
