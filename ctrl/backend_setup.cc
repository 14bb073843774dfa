#include "ctrl/backend_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "ctrl/config/diagnostics.h"
#include "ctrl/config/egress.h"
#include "ctrl/config/tunnel_overhead.h"
#include "dataplane/net/address_text.h"
#include "dataplane/net/headers.h"

namespace weir {
namespace {

// By what a VIP's packets come in at the server.
enum class Entrance : std::uint8_t { lo, ipip, sit, ip6tnl };
constexpr std::array<std::string_view, 4> kDevices = {"lo", "weir-ipip", "weir-sit", "weir-ip6tnl"};
constexpr std::array<std::string_view, 4> kKinds = {"", "type ipip", "type sit", "type ip6tnl mode any"};
constexpr std::array<std::string_view, 4> kTakesOut = {"", "IPv4 out of IPv4", "IPv6 out of IPv4",
                                                       "IPv4 and IPv6 out of IPv6"};

std::string_view device(Entrance entrance) { return kDevices[static_cast<std::size_t>(entrance)]; }

Entrance entrance_of(ForwardingMode mode, const IpAddress& backend, const IpAddress& vip) {
    if (!is_tunnel(mode)) return Entrance::lo;
    if (!backend.is_v4()) return Entrance::ip6tnl;
    return vip.is_v4() ? Entrance::ipip : Entrance::sit;
}

// What a server needs. Sets, in the order in which the scripts have them.
struct Needs {
    std::set<std::pair<Entrance, IpAddress>> vips;
    std::map<IpAddress, unsigned> overheads;  // of VIPs that come through a tunnel: the largest, in bytes
    bool gue = false;
    bool gateway = false;  // weir is the way to the clients (mode dnat)

    void add(const ServiceConfig& service, ForwardingMode mode, const IpAddress& backend) {
        gateway |= mode == ForwardingMode::dnat;
        if (translates(mode)) return;  // VIPs are weir's alone
        vips.emplace(entrance_of(mode, backend, service.vip), service.vip);
        if (!is_tunnel(mode)) return;
        unsigned& most = overheads[service.vip];
        most = std::max(most, tunnel_overhead(mode, backend.family()));
        gue |= mode == ForwardingMode::gue;
    }
    [[nodiscard]] std::set<Entrance> tunnels() const {
        std::set<Entrance> found;
        for (const auto& [entrance, vip] : vips)
            if (entrance != Entrance::lo) found.insert(entrance);
        return found;
    }
    [[nodiscard]] bool has_v4_vip() const {
        return std::ranges::any_of(vips, [](const auto& vip) { return vip.second.is_v4(); });
    }
};

void add_needs(const Config& config, const PoolConfig& pool, const BackendConfig& backend, Needs& needs) {
    for (const ServiceConfig& service : config.services)
        if (service.pool == pool.name) needs.add(service, mode_of(service, pool, backend), backend.address);
}

// One backend, and what the file says about its server.
struct Subject {
    const PoolConfig* pool = nullptr;
    const BackendConfig* backend = nullptr;
    Needs needs;
    Needs of_others;  // backends of the same address
    [[nodiscard]] std::string name() const { return pool->name + "/" + backend->name; }
    [[nodiscard]] std::string address() const { return to_text(backend->address); }
};

// "a, b and 3 more": of a long list what fits a line.
template <class Group>
std::string known_names(const Group& group) {
    constexpr std::size_t kShown = 8;
    std::string names;
    std::size_t count = 0;
    for (const auto& entry : group)
        if (++count <= kShown) names += (names.empty() ? "" : ", ") + entry.name;
    if (count == 0) return "none";
    return count <= kShown ? names : fmt::format("{} and {} more", names, count - kShown);
}

template <class Group>
auto* find_named(const Group& group, std::string_view name) {
    const auto found = std::ranges::find_if(group, [&](const auto& entry) { return entry.name == name; });
    return found == group.end() ? nullptr : &*found;
}

Result<Subject> find_subject(const Config& config, std::string_view name) {
    const std::size_t slash = name.find('/');
    if (slash == std::string_view::npos)
        return operator_error(
            fmt::format("{}: write POOL/NAME of a backend, as in web/TestWeb01; {} has pools: {}",
                        in_quotes(name), config.file, known_names(config.pools)));
    Subject subject;
    subject.pool = find_named(config.pools, name.substr(0, slash));
    if (subject.pool == nullptr)
        return operator_error(fmt::format("{} has no pool {}; it has: {}", config.file,
                                          in_quotes(name.substr(0, slash)), known_names(config.pools)));
    subject.backend = find_named(subject.pool->backends, name.substr(slash + 1));
    if (subject.backend == nullptr)
        return operator_error(fmt::format("{}: pool {} has no backend {}; it has: {}", config.file,
                                          in_quotes(subject.pool->name), in_quotes(name.substr(slash + 1)),
                                          known_names(subject.pool->backends)));
    add_needs(config, *subject.pool, *subject.backend, subject.needs);
    for (const PoolConfig& pool : config.pools)
        for (const BackendConfig& other : pool.backends)
            if (&other != subject.backend && other.address == subject.backend->address)
                add_needs(config, pool, other, subject.of_others);
    return subject;
}

class Script {
  public:
    template <class... Args>
    void line(fmt::format_string<Args...> format, Args&&... args) {
        fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
        text_ += '\n';
    }
    void blank() { text_ += '\n'; }
    [[nodiscard]] std::string take() { return std::move(text_); }

  private:
    std::string text_;
};

std::string host_prefix(const IpAddress& vip) { return fmt::format("{}/{}", to_text(vip), vip.bit_length()); }

// A name of letters, digits, '_' and '.', as nft takes it.
std::string nft_table(const IpAddress& vip) {
    std::string text = to_text(vip);
    std::ranges::replace(text, ':', '_');
    return "weir_" + text;
}

std::string fou(const IpAddress& backend) { return backend.is_v4() ? "ip fou" : "ip -6 fou"; }
// How `ip fou show` writes the port.
std::string fou_port(const IpAddress& backend) {
    return fmt::format("port {} gue{}", GueHeader::kPort, backend.is_v4() ? "" : " -6");
}

// Words, not a command: who changes a server's way to the world does it by hand.
void write_gateway(const Config& config, const Subject& subject, Script& script) {
    const Egress egress = EgressFinder(config).find(subject.backend->address);
    std::string gateway = "ADDRESS OF WEIR";
    if (egress.port != nullptr)
        for (const IpPrefix& prefix : egress.port->addresses)
            if (prefix.address.family() == subject.backend->address.family())
                gateway = to_text(prefix.address);
    script.line(
        "# Mode dnat: clients are seen with their own addresses, and every answer to them has to come");
    script.line("# back through weir. By hand, and in the server's configuration of its network:");
    script.line("#   ip route replace default via {}", gateway);
    script.line(
        "# Weir forwards answers alone: connections that the server begins itself need another route.");
}

void write_services(const Config& config, const Subject& subject, Script& script) {
    for (const ServiceConfig& service : config.services)
        if (service.pool == subject.pool->name)
            script.line("#   service {}: VIP {}, forwarding {}", service.name, to_text(service.vip),
                        name_of(mode_of(service, *subject.pool, *subject.backend)));
    if (subject.needs.gateway) write_gateway(config, subject, script);
    if (subject.needs.vips.empty() && !subject.needs.gateway)
        script.line("# No service uses pool {} in a mode that needs anything here: nothing to do.",
                    subject.pool->name);
}

// Before any VIP is there: none is ever heard of.
void write_silence(Script& script) {
    script.blank();
    script.line(
        "# ARP names no VIP, neither in answers nor in requests: the VIPs are weir's on the wire. (The "
        "larger of");
    script.line(
        "# the values for all and for an interface counts. IPv6 answers for an interface's own addresses "
        "only.)");
    script.line("sysctl -w net.ipv4.conf.all.arp_ignore=1");
    script.line("sysctl -w net.ipv4.conf.all.arp_announce=2");
}

void write_tunnel(Entrance entrance, const Subject& subject, Script& script) {
    const std::string_view name = device(entrance);
    const auto at = static_cast<std::size_t>(entrance);
    script.blank();
    script.line("# Takes {} that comes to {}.", kTakesOut[at], subject.address());
    script.line("ip link show dev {0} >/dev/null 2>&1 || ip link add name {0} {1} local {2}", name,
                kKinds[at], subject.address());
    script.line("ip link set dev {} up", name);
    const bool has_v4 = std::ranges::any_of(
        subject.needs.vips, [&](const auto& vip) { return vip.first == entrance && vip.second.is_v4(); });
    if (!has_v4) return;
    script.line(
        "# Clients are not reached through this device: with rp_filter 1 (strict) their packets are dropped. "
        "2 holds");
    script.line("# whatever all says.");
    script.line("sysctl -w net.ipv4.conf.{}.rp_filter=2", name);
}

void write_vips(const Needs& needs, Script& script) {
    script.blank();
    script.line("# The VIPs.");
    for (const auto& [entrance, vip] : needs.vips) {
        if (vip.is_v4())
            script.line("ip address replace {} dev {}", host_prefix(vip), device(entrance));
        else  // deprecated: in use, but never chosen as the source of the server's own connections
            script.line("ip -6 address replace {} dev {} nodad preferred_lft 0", host_prefix(vip),
                        device(entrance));
    }
    if (std::ranges::any_of(
            needs.vips, [](const auto& vip) { return vip.first == Entrance::lo && vip.second.is_v4(); })) {
        script.line(
            "# Only if this server reaches clients by another interface than IFACE, by which weir's packets "
            "come:");
        script.line("#   sysctl -w net.ipv4.conf.IFACE.rp_filter=2");
    }
}

// After the tunnel devices, which take what the kernel finds in GUE.
void write_gue(const IpAddress& backend, Script& script) {
    script.blank();
    script.line(
        "# Takes off UDP and GUE; the device above takes the rest. A firewall must let UDP port {} in.",
        GueHeader::kPort);
    if (!backend.is_v4()) script.line("# (weir fills in the outer UDP checksum, without which IPv6 drops.)");
    script.line("ip fou show >/dev/null 2>&1 || modprobe fou");
    script.line("ip fou show | grep -qx '{} *' || {} add port {} gue", fou_port(backend), fou(backend),
                GueHeader::kPort);
}

// The port that leads to the backend, or the one with the smallest MTU.
const PortConfig* port_to(const Config& config, const IpAddress& backend) {
    if (const PortConfig* port = EgressFinder(config).find(backend).port) return port;
    const auto least = std::ranges::min_element(config.ports, {}, &PortConfig::mtu);
    return least == config.ports.end() ? nullptr : &*least;
}

void write_segments(const Config& config, const Subject& subject, Script& script) {
    const PortConfig* port = port_to(config, subject.backend->address);
    if (port == nullptr) return;
    script.blank();
    script.line(
        "# Clients send no segment that is too big for the tunnel: what weir's port {} takes (mtu {}), less "
        "the",
        port->name, port->mtu);
    script.line(
        "# tunnel's headers, IP and TCP. It only ever lowers the MSS. Other protocols: see "
        "docs/operating.md, MTU.");
    for (auto [vip, overhead] : subject.needs.overheads) {
        const auto other = subject.of_others.overheads.find(vip);
        if (other != subject.of_others.overheads.end()) overhead = std::max(overhead, other->second);
        const unsigned headers = overhead + (vip.is_v4() ? 20u : 40u) + 20u;
        constexpr unsigned kLeastMss = 88;  // Linux takes none below: include/net/tcp.h, TCP_MIN_MSS
        const unsigned mss = std::max(kLeastMss, port->mtu > headers ? port->mtu - headers : 0u);
        const std::string table = nft_table(vip);
        script.line("nft -f - <<'END'");
        script.line("table inet {}", table);
        script.line("delete table inet {}", table);
        script.line("table inet {} {{", table);
        script.line("    chain replies {{");
        script.line("        type filter hook output priority mangle;");
        script.line("        {} saddr {} tcp flags & syn == syn tcp option maxseg size set {}",
                    vip.is_v4() ? "ip" : "ip6", to_text(vip), mss);
        script.line("    }}");
        script.line("}}");
        script.line("END");
    }
}

// What this backend needs and no other of its address does, in the reverse order.
void write_undo(const Subject& subject, Script& script) {
    script.blank();
    script.line("# What another backend of this address needs stays.");
    const Needs& needs = subject.needs;
    const Needs& kept = subject.of_others;
    for (const auto& [vip, overhead] : needs.overheads)
        if (!kept.overheads.contains(vip))
            script.line("nft 'table inet {0}; delete table inet {0}'", nft_table(vip));
    if (needs.gue && !kept.gue)
        script.line("! ip fou show 2>/dev/null | grep -qx '{} *' || {} del port {}",
                    fou_port(subject.backend->address), fou(subject.backend->address), GueHeader::kPort);
    const std::set<Entrance> kept_tunnels = kept.tunnels();
    const auto goes = [&](Entrance entrance) {
        return entrance != Entrance::lo && !kept_tunnels.contains(entrance);
    };
    for (const auto& [entrance, vip] : needs.vips)
        if (!goes(entrance) && !kept.vips.contains({entrance, vip}))
            script.line(
                "[ -z \"$(ip address show dev {1} to {0} 2>/dev/null)\" ] || ip address del {0} dev {1}",
                host_prefix(vip), device(entrance));
    for (const Entrance entrance : needs.tunnels())
        if (goes(entrance))
            script.line("! ip link show dev {0} >/dev/null 2>&1 || ip link del dev {0}", device(entrance));
    if (needs.has_v4_vip())
        script.line("# arp_ignore and arp_announce stay: other VIPs may need them, and they harm nothing.");
}

// "#!/bin/sh", what the script is for and, unless there is nothing to do, "set -eu".
void write_beginning(const Config& config, const Subject& subject, std::string_view purpose, Script& script) {
    script.line("#!/bin/sh");
    script.line("# {} backend {} on server {}:", purpose, subject.name(), subject.address());
    write_services(config, subject, script);
    if (subject.needs.vips.empty()) return;
    script.line("# For root on that server. Once more does no harm; the first command that fails ends it.");
    script.line("set -eu");
}

}  // namespace

Result<std::string> backend_setup_script(const Config& config, std::string_view name) {
    const auto subject = find_subject(config, name);
    if (!subject) return tl::make_unexpected(subject.error());
    const Needs& needs = subject->needs;
    Script script;
    write_beginning(config, *subject, "What weir needs of", script);
    if (needs.vips.empty()) return script.take();
    if (needs.has_v4_vip()) write_silence(script);
    for (const Entrance entrance : needs.tunnels()) write_tunnel(entrance, *subject, script);
    write_vips(needs, script);
    if (needs.gue) write_gue(subject->backend->address, script);
    if (!needs.overheads.empty()) write_segments(config, *subject, script);
    return script.take();
}

Result<std::string> backend_undo_script(const Config& config, std::string_view name) {
    const auto subject = find_subject(config, name);
    if (!subject) return tl::make_unexpected(subject.error());
    Script script;
    write_beginning(config, *subject, "Takes back what weir needed of", script);
    if (!subject->needs.vips.empty()) write_undo(*subject, script);
    return script.take();
}

}  // namespace weir
