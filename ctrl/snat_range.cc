#include "ctrl/snat_range.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "dataplane/net/address_text.h"

namespace weir {
namespace {

// A socket that takes packets from anybody.
struct Server {
    const char* protocol;
    IpAddress address;
    std::uint16_t port;
};

// proc(5), /proc/net/tcp: each 32-bit word of an address as the machine reads it, in hexadecimal.
std::optional<IpAddress> parse_address(std::string_view text) {
    std::array<std::uint32_t, 4> words{};
    if (text.size() != 8 && text.size() != 32) return std::nullopt;
    for (std::size_t i = 0; i < text.size() / 8; ++i)
        words[i] = static_cast<std::uint32_t>(std::stoul(std::string(text.substr(8 * i, 8)), nullptr, 16));
    if (text.size() == 8) return IpAddress(Ipv4Address{Be32::from_raw(words[0])});
    Ipv6Address address;
    std::memcpy(address.bytes.data(), words.data(), sizeof(address));
    return IpAddress(address);
}

// Of the network namespace of the calling thread.
void add_servers(const char* file, const char* protocol, std::string_view state, std::vector<Server>& to) {
    std::ifstream table(fmt::format("/proc/thread-self/net/{}", file));
    std::string line;
    std::getline(table, line);
    while (std::getline(table, line)) {
        std::string number, local, remote, is;
        if (!(std::istringstream(line) >> number >> local >> remote >> is) || is != state) continue;
        const std::size_t colon = local.find(':');
        const auto address = parse_address(std::string_view(local).substr(0, colon));
        if (!address || colon == std::string::npos) continue;
        to.push_back({protocol, *address,
                      static_cast<std::uint16_t>(std::stoul(local.substr(colon + 1), nullptr, 16))});
    }
}

std::vector<Server> servers_of_the_machine() {
    constexpr std::string_view kListens = "0A", kUnconnected = "07";
    std::vector<Server> servers;
    add_servers("tcp", "TCP", kListens, servers);
    add_servers("tcp6", "TCP", kListens, servers);
    add_servers("udp", "UDP", kUnconnected, servers);
    add_servers("udp6", "UDP", kUnconnected, servers);
    return servers;
}

bool is_any(const IpAddress& address) {
    return std::ranges::all_of(address.bytes(), [](std::uint8_t byte) { return byte == 0; });
}

// Its clients, at one of the addresses, would not reach it.
bool is_hidden(const Server& server, const SnatConfig& snat) {
    return snat.ports.contains(server.port) &&
           (is_any(server.address) ||
            std::ranges::find(snat.addresses, server.address) != snat.addresses.end());
}

Result<void> check_own_ports(const PortConfig& port) {
    unsigned first = 0, last = 0;
    if (!(std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first >> last)) return {};
    const L4PortRange range = port.snat.ports;
    if (range.last < first || last < range.first) return {};
    return operator_error(fmt::format(
        "{}: port \"{}\": snat.ports {}-{} overlap the ports {}-{} that the kernel uses for its own "
        "connections from the same addresses; choose others, as in \"{}\", or move the kernel's by "
        "sysctl -w net.ipv4.ip_local_port_range=\"1024 32767\", which serves IPv6 too",
        port.snat.where.text(), port.name, range.first, range.last, first, last,
        first > 20'000 ? fmt::format("10000-{}", first - 1) : fmt::format("{}-65535", last + 1)));
}

}  // namespace

Result<void> check_snat_ranges(const Config& config) {
    std::optional<std::vector<Server>> servers;
    for (const PortConfig& port : config.ports) {
        if (port.snat.addresses.empty() || port.host_interface.empty()) continue;
        if (auto step = check_own_ports(port); !step) return step;
        if (!servers) servers = servers_of_the_machine();
        const auto hidden = std::ranges::find_if(
            *servers, [&](const Server& server) { return is_hidden(server, port.snat); });
        if (hidden == servers->end()) continue;
        return operator_error(fmt::format(
            "{}: port \"{}\": snat.ports {}-{} hold {} port {}, on which a server of this machine listens at "
            "{}: what came for it would be taken for a reply; choose others, or have it listen elsewhere (ss "
            "-lntup shows which it is)",
            port.snat.where.text(), port.name, port.snat.ports.first, port.snat.ports.last, hidden->protocol,
            hidden->port, is_any(hidden->address) ? "every address" : to_text(hidden->address)));
    }
    return {};
}

}  // namespace weir
