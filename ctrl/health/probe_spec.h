// What a probe asks of whom: a plain value. Equal values are one probe, however many want to know its answer.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "ctrl/config/config.h"
#include "dataplane/net/address.h"
#include "dataplane/state/probe_ports.h"

namespace weir {

// Through the VIP, as the traffic goes: `way` is how weir sends it and to whom, which the probe's packets do
// not say.
struct ProbeVia {
    IpAddress vip;
    ProbeWay way{};
    auto operator<=>(const ProbeVia&) const = default;
};

struct ProbeSpec {
    ProbeProtocol protocol = ProbeProtocol::tcp;
    IpAddress address;       // the backend's
    std::uint16_t port = 0;  // icmp: 0
    std::string path, host, method, matcher, body;
    std::string send, expect;
    std::string grpc_service;
    bool verify = false;
    bool proxy_header = false;  // http, https, grpc: a PROXY line of weir's own address goes first
    std::string ca_file;
    Duration timeout{2'000};
    std::optional<ProbeVia> via;  // absent: to the backend's own address
    // Normally empty: the kernel's routes lead through the port's host interface, and its address is the
    // source.
    std::optional<IpAddress> source;
    std::string interface;

    auto operator<=>(const ProbeSpec&) const = default;
    // Whom the sockets dial.
    [[nodiscard]] const IpAddress& destination() const { return via ? via->vip : address; }
};

// `port` is the backend's; the check's own wins. Keys that the protocol gives no meaning are left out, so
// that checks that do the same compare equal.
[[nodiscard]] ProbeSpec make_probe_spec(const HealthCheckConfig& check, const IpAddress& address,
                                        std::uint16_t port);

// Whether the server that is asked expects a PROXY header: where clients' bytes come to that port with one.
// It is the text form, which libcurl knows: servers tell it from the binary one by themselves.
[[nodiscard]] bool wants_proxy_header(const HealthCheckConfig& check, ClientIdentity identity);

// "tcp 10.1.1.11:80", "https [fd00::11]:443": for messages.
[[nodiscard]] std::string to_text(const ProbeSpec& spec);

// The same in every run and on every machine.
[[nodiscard]] std::uint64_t hash_of(const ProbeSpec& spec);

}  // namespace weir
