// pools: health_check.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "ctrl/config/config_limits.h"
#include "ctrl/config/read_sections.h"
#include "ctrl/config/setting_text.h"

namespace weir {
namespace {

constexpr std::size_t kMaxProbeText = 1'024;

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

Result<std::string> probe_path(std::string_view text) {
    if (text.starts_with('/') && text.size() <= kMaxProbeText && is_printable(text)) return std::string(text);
    return operator_error(
        fmt::format("is {}; allowed: 1 to 1,024 printable characters beginning with /", in_quotes(text)));
}

// Goes into a header line, and into SNI.
Result<std::string> probe_host(std::string_view text) {
    if (!text.empty() && text.size() <= 253 && is_printable(text)) return std::string(text);
    return operator_error(
        fmt::format("is {}; allowed: a host name, 1 to 253 printable characters", in_quotes(text)));
}

Result<std::string> probe_text(std::string_view text) {
    if (!text.empty() && text.size() <= kMaxProbeText) return std::string(text);
    return operator_error(fmt::format("has {} bytes; allowed: 1 to 1,024", text.size()));
}

// "PING\r\n" or, for bytes that a text cannot hold, "hex:00ff".
Result<std::string> payload(std::string_view text) {
    if (!text.starts_with("hex:")) return probe_text(text);
    const std::string_view digits = text.substr(4);
    const auto nibble = [](char c) -> int {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    };
    const bool good = !digits.empty() && digits.size() % 2 == 0 &&
                      std::all_of(digits.begin(), digits.end(), [&](char c) { return nibble(c) >= 0; });
    if (!good)
        return operator_error(
            fmt::format("is {}; allowed: a text, or hex: and pairs of hexadecimal digits", in_quotes(text)));
    std::string bytes;
    for (std::size_t i = 0; i < digits.size(); i += 2)
        bytes.push_back(static_cast<char>(nibble(digits[i]) << 4 | nibble(digits[i + 1])));
    return probe_text(bytes);
}

// As it will be opened: relative to the configuration's folder, which messages name files by.
Result<std::string> file_beside(std::string_view text, const SourceLine& where) {
    if (text.empty()) return operator_error("is empty; allowed: a file of certificates in PEM");
    return (std::filesystem::path(where.file).parent_path() / text).string();
}

// Keys that the check's protocol gives no meaning are contradictions.
void refuse_foreign_keys(GroupReader& group, ProbeProtocol protocol) {
    using enum ProbeProtocol;
    struct Rule {
        const char* key;
        std::initializer_list<ProbeProtocol> meant_for;
    };
    static const Rule kRules[] = {
        {"path", {http, https, grpc}},
        {"matcher", {http, https, grpc}},
        {"host", {http, https, grpc}},
        {"method", {http, https}},
        {"body", {http, https}},
        {"send", {udp}},
        {"expect", {udp}},
        {"service", {grpc}},
        {"verify", {https}},
        {"ca_file", {https}},
        {"port", {tcp, http, https, udp, grpc}},
    };
    for (const Rule& rule : kRules) {
        if (group.find(rule.key) == nullptr ||
            std::ranges::find(rule.meant_for, protocol) != rule.meant_for.end())
            continue;
        std::string allowed;
        for (const ProbeProtocol one : rule.meant_for)
            allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", name_of(one));
        group.error(rule.key, fmt::format("means nothing to protocol \"{}\"; remove it, or use {}",
                                          name_of(protocol), allowed));
    }
}

void check_probe(GroupReader& group, const HealthCheckConfig& check) {
    refuse_foreign_keys(group, check.protocol);
    if (check.protocol == ProbeProtocol::udp && group.find("send") == nullptr)
        group.error("send", "is missing; allowed: what the server answers, 1 to 1,024 bytes");
    if (check.method == "HEAD" && !check.body.empty())
        group.error("body", "stands beside method = \"HEAD\", whose answers have none; remove one");
    if (!check.ca_file.empty() && !check.verify)
        group.error("ca_file", "means nothing without verify = true; remove it, or add that");
    if (check.via == ProbePath::vip && check.protocol == ProbeProtocol::icmp)
        group.error("via", "= \"vip\" means nothing to protocol \"icmp\": weir answers echo for VIPs itself");
    if (check.timeout > check.interval)
        group.error("timeout",
                    fmt::format("is {}, longer than interval, {}; allowed: up to the interval",
                                in_quotes(to_text(check.timeout)), in_quotes(to_text(check.interval))));
}

void read_http_keys(GroupReader& group, HealthCheckConfig& check) {
    group.read_text("path", probe_path, check.path);
    group.read_text("host", probe_host, check.host);
    const std::vector<std::string_view> methods = {"GET", "HEAD"};
    if (const auto index = group.choice_of("method", methods)) check.method = methods[*index];
    const bool grpc = check.protocol == ProbeProtocol::grpc;
    group.read_text(
        "matcher",
        [&](std::string_view text) { return check_matcher(text, grpc ? 0 : 100, grpc ? 99 : 599); },
        check.matcher);
    group.read_text("body", probe_text, check.body);
    group.read("verify", check.verify);
    group.read_text(
        "ca_file", [&](std::string_view text) { return file_beside(text, group.where()); }, check.ca_file);
}

}  // namespace

void read_health_check(GroupReader& group, HealthCheckConfig& check) {
    check.where = group.where();
    group.require({"protocol"});
    const std::vector<std::string_view> protocols(kProbeProtocolNames.begin(), kProbeProtocolNames.end());
    const auto protocol = group.choice_of("protocol", protocols);
    if (protocol) check.protocol = static_cast<ProbeProtocol>(*protocol);
    if (check.protocol == ProbeProtocol::grpc) {
        check.matcher = "0";  // OK
        check.path = "/grpc.health.v1.Health/Check";
    }
    group.read("via", {{"direct", ProbePath::direct}, {"vip", ProbePath::vip}}, check.via);
    group.read("port", {1, 65'535}, check.port);
    read_http_keys(group, check);
    group.read_text("send", payload, check.send);
    group.read_text("expect", payload, check.expect);
    group.read_text("service", probe_text, check.grpc_service);
    group.read("interval", DurationRange{kMinProbeInterval, kMaxProbeInterval}, check.interval);
    group.read("timeout", DurationRange{kMinProbeTimeout, kMaxProbeInterval}, check.timeout);
    group.read("healthy_threshold", {1, kMaxThreshold}, check.healthy_threshold);
    group.read("unhealthy_threshold", {1, kMaxThreshold}, check.unhealthy_threshold);
    group.read("passive", check.passive);
    if (protocol) check_probe(group, check);
    check.keys = group.key_lines();
}

}  // namespace weir
