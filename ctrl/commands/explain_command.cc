#include "ctrl/commands/explain_command.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "ctrl/explain.h"
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

Result<FlowQuestion> question_of(const ExplainRequest& request) {
    const auto from = parse_endpoint(request.from);
    const auto to = parse_endpoint(request.to);
    constexpr const char* kForm =
        "write ADDRESS:PORT, or [ADDRESS]:PORT for IPv6, with a port from 0 to 65535";
    if (!from) return operator_error(fmt::format("--from {}: {}", request.from, kForm));
    if (!to) return operator_error(fmt::format("--to {}: {}", request.to, kForm));
    if (from->address.family() != to->address.family())
        return operator_error("--from and --to: both must be IPv4 or both IPv6");
    return FlowQuestion{.protocol = request.protocol == "tcp" ? IpProtocol::tcp : IpProtocol::udp,
                        .client = from->address,
                        .vip = to->address,
                        .client_port = from->port,
                        .vip_port = to->port};
}

void print_json(const FlowExplanation& answer, const std::vector<std::string>& assumptions) {
    nlohmann::ordered_json json;
    json["verdict"] = !answer.punted.empty() ? "punt" : answer.dropped.empty() ? "forward" : "drop";
    if (!answer.dropped.empty()) json["reason"] = answer.dropped;
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
    std::puts(json.dump(2).c_str());
}

void print_text(const ExplainRequest& request, const FlowExplanation& answer,
                const std::vector<std::string>& assumptions) {
    fmt::print("flow      {} {} -> {}\n", request.protocol, request.from, request.to);
    if (!answer.service.empty()) fmt::print("service   {}, pool {}\n", answer.service, answer.pool);
    if (!answer.backend.empty()) {
        fmt::print("hash      {:#018x} over {}\n", answer.hash, answer.hashed);
        fmt::print("slot      {} of {}; {} has {} of them ({:.2f} %)\n", answer.slot, answer.slots,
                   answer.backend, answer.backend_slots, 100.0 * answer.backend_slots / answer.slots);
        fmt::print("backend   {} ({})\n", answer.backend, answer.backend_address);
        fmt::print("forwards  {}, out of port {} to {}, {} bytes of tunnel headers\n", answer.mode,
                   answer.port, answer.next_hop_mac, answer.overhead);
    }
    if (!answer.dropped.empty()) fmt::print("dropped   {}\n", answer.dropped);
    if (!answer.punted.empty()) fmt::print("punted    an address of port {}: to the kernel\n", answer.punted);
    for (const std::string& assumption : assumptions) fmt::print("note      {}\n", assumption);
}

}  // namespace

int explain_command(const ExplainRequest& request) {
    const auto question = question_of(request);
    if (!question) {
        fmt::print(stderr, "weir explain: {}\n", question.error().message);
        return 1;
    }
    for (const std::string& down : request.down) {
        if (down.find('@') == std::string::npos) continue;
        fmt::print(stderr, "weir explain: --down {}: times are for replay; write POOL/NAME\n", down);
        return 1;
    }
    const auto world = make_offline_world(request.config_file, request.down);
    if (!world) {
        fmt::print(stderr, "{}\n", world.error().message);
        return static_cast<int>(world.error().cause);
    }
    const FlowExplanation answer = explain_flow(**world, *question);
    if (request.json)
        print_json(answer, (*world)->assumptions);
    else
        print_text(request, answer, (*world)->assumptions);
    return 0;
}

}  // namespace weir
