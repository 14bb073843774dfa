#include "ctrl/health/probe_spec.h"

#include <fmt/format.h>

#include <string_view>

#include "dataplane/net/address_text.h"

namespace weir {
namespace {

// FNV-1a, 64 bits: nobody gains by a collision, two probes merely start at the same time.
class Fnv {
  public:
    void add(std::string_view bytes) {
        for (const char byte : bytes) add(static_cast<unsigned char>(byte));
        add(std::uint64_t{bytes.size()});
    }
    void add(const IpAddress& address) {
        for (const std::uint8_t byte : address.bytes()) add(byte);
    }
    void add(std::uint64_t number) {
        for (int shift = 0; shift < 64; shift += 8) add(static_cast<std::uint8_t>(number >> shift));
    }
    // FNV's last bits of neighbouring addresses are near each other: the finalizer of MurmurHash3 spreads
    // them.
    [[nodiscard]] std::uint64_t value() const {
        std::uint64_t x = state_;
        x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdull;
        x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ull;
        return x ^ (x >> 33);
    }

  private:
    void add(std::uint8_t byte) { state_ = (state_ ^ byte) * 0x100000001b3ull; }
    std::uint64_t state_ = 0xcbf29ce484222325ull;
};

}  // namespace

ProbeSpec make_probe_spec(const HealthCheckConfig& check, const IpAddress& address, std::uint16_t port) {
    using enum ProbeProtocol;
    ProbeSpec spec;
    spec.protocol = check.protocol;
    spec.address = address;
    spec.timeout = check.timeout;
    if (check.protocol != icmp) spec.port = check.port.value_or(port);
    if (check.protocol == http || check.protocol == https || check.protocol == grpc) {
        spec.path = check.path;
        spec.host = check.host;
        spec.matcher = check.matcher;
    }
    if (check.protocol == http || check.protocol == https) {
        spec.method = check.method;
        spec.body = check.body;
    }
    if (check.protocol == https && check.verify) {
        spec.verify = true;
        spec.ca_file = check.ca_file;
    }
    if (check.protocol == grpc) spec.grpc_service = check.grpc_service;
    if (check.protocol == udp) {
        spec.send = check.send;
        spec.expect = check.expect;
    }
    return spec;
}

bool wants_proxy_header(const HealthCheckConfig& check, ClientIdentity identity) {
    using enum ProbeProtocol;
    const bool over_curl = check.protocol == http || check.protocol == https || check.protocol == grpc;
    const bool has_header = identity == ClientIdentity::proxy_v1 || identity == ClientIdentity::proxy_v2;
    return over_curl && has_header && !check.port;
}

std::string to_text(const ProbeSpec& spec) {
    const std::string address = to_text(spec.destination());
    if (spec.protocol == ProbeProtocol::icmp) return fmt::format("icmp {}", address);
    const std::string host = spec.destination().is_v4() ? address : fmt::format("[{}]", address);
    return fmt::format("{} {}:{}", name_of(spec.protocol), host, spec.port);
}

std::uint64_t hash_of(const ProbeSpec& spec) {
    Fnv hash;
    hash.add(static_cast<std::uint64_t>(spec.protocol));
    hash.add(spec.address);
    hash.add(std::uint64_t{spec.port});
    for (const std::string* text :
         {&spec.path, &spec.host, &spec.method, &spec.matcher, &spec.body, &spec.send, &spec.expect,
          &spec.grpc_service, &spec.ca_file, &spec.interface})
        hash.add(*text);
    hash.add(std::uint64_t{spec.verify});
    hash.add(std::uint64_t{spec.proxy_header});
    hash.add(static_cast<std::uint64_t>(spec.timeout.count()));
    if (spec.via) {
        hash.add(spec.via->vip);
        hash.add(std::uint64_t{index(spec.via->way.backend)});
        hash.add(static_cast<std::uint64_t>(spec.via->way.mode));
    }
    if (spec.source) hash.add(*spec.source);
    return hash.value();
}

}  // namespace weir
