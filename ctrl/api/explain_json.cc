#include "ctrl/api/explain_json.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "ctrl/config/diagnostics.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

struct Endpoint {
    IpAddress address;
    std::uint16_t port;
};

// "198.51.100.7:4242" or "[2001:db8::7]:4242"
std::optional<Endpoint> parse_endpoint(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    std::string_view host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto address = parse_ip_address(host);
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (!address || address->is_v4() == bracketed) return std::nullopt;
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return Endpoint{*address, port};
}

}  // namespace

Result<FlowQuestion> flow_question(const std::string& protocol, const std::string& client,
                                   const std::string& vip) {
    const auto from = parse_endpoint(client);
    const auto to = parse_endpoint(vip);
    constexpr const char* kForm =
        "write ADDRESS:PORT, or [ADDRESS]:PORT for IPv6, with a port from 0 to 65535";
    if (protocol != "tcp" && protocol != "udp")
        return operator_error(fmt::format("--proto {}: allowed: tcp, udp", in_quotes(protocol)));
    if (!from) return operator_error(fmt::format("--from {}: {}", client, kForm));
    if (!to) return operator_error(fmt::format("--to {}: {}", vip, kForm));
    if (from->address.family() != to->address.family())
        return operator_error("--from and --to: both must be IPv4 or both IPv6");
    return FlowQuestion{.protocol = protocol == "tcp" ? IpProtocol::tcp : IpProtocol::udp,
                        .client = from->address,
                        .vip = to->address,
                        .client_port = from->port,
                        .vip_port = to->port};
}

nlohmann::ordered_json to_json(const FlowExplanation& answer, const std::vector<std::string>& assumptions) {
    nlohmann::ordered_json json;
    json["verdict"] = !answer.punted.empty() ? "punt" : answer.dropped.empty() ? "forward" : "drop";
    if (!answer.dropped.empty()) json["reason"] = answer.dropped;
    if (!answer.punted.empty()) json["punted_to"] = answer.punted;
    if (!answer.service.empty())
        json.update({{"service", answer.service},
                     {"pool", answer.pool},
                     {"hashed", answer.hashed},
                     {"hash", answer.hash}});
    if (!answer.backend.empty())
        json.update({{"slot", answer.slot},
                     {"slots", answer.slots},
                     {"backend", answer.backend},
                     {"address", answer.backend_address},
                     {"backend_slots", answer.backend_slots},
                     {"mode", answer.mode},
                     {"overhead", answer.overhead},
                     {"port", answer.port},
                     {"next_hop_mac", answer.next_hop_mac}});
    json["assumptions"] = assumptions;
    return json;
}

}  // namespace weir
