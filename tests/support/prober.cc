// Probes one target until a verdict has come some times, or longer: what the e2e tests drive.
//
//     prober --protocol http --address 127.0.0.1 --port 80 [--path /] [...] [--times 1]
//
// Prints one line of JSON for each probe: {"outcome", "reason", "answer", "took"}, took in seconds.
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "ctrl/control_loop.h"
#include "ctrl/health/prober.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

struct Order {
    std::string protocol = "tcp", address;
    std::uint16_t port = 0;
    std::int64_t timeout = 2'000, interval = 5'000;
    int times = 1;
    ProbeSpec spec;
};

void read_options(CLI::App& app, Order& order) {
    app.add_option("--protocol", order.protocol);
    app.add_option("--address", order.address)->required();
    app.add_option("--port", order.port);
    app.add_option("--timeout", order.timeout, "ms");
    app.add_option("--interval", order.interval, "ms");
    app.add_option("--times", order.times);
    app.add_option("--path", order.spec.path)->default_str("/");
    app.add_option("--host", order.spec.host);
    app.add_option("--method", order.spec.method)->default_str("GET");
    app.add_option("--matcher", order.spec.matcher);
    app.add_option("--body", order.spec.body);
    app.add_option("--send", order.spec.send);
    app.add_option("--expect", order.spec.expect);
    app.add_option("--service", order.spec.grpc_service);
    app.add_flag("--verify", order.spec.verify);
    app.add_option("--ca-file", order.spec.ca_file);
    app.add_option("--interface", order.spec.interface);
}

// False: no such protocol or address.
bool complete(Order& order) {
    const auto name = std::ranges::find(kProbeProtocolNames, order.protocol);
    const auto address = parse_ip_address(order.address);
    if (name == kProbeProtocolNames.end() || !address) return false;
    ProbeSpec& spec = order.spec;
    spec.protocol = static_cast<ProbeProtocol>(name - kProbeProtocolNames.begin());
    spec.address = *address;
    spec.port = order.port;
    spec.timeout = Duration(order.timeout);
    const bool grpc = spec.protocol == ProbeProtocol::grpc;
    if (spec.path.empty()) spec.path = grpc ? "/grpc.health.v1.Health/Check" : "/";
    if (spec.matcher.empty()) spec.matcher = grpc ? "0" : "200-399";
    return true;
}

void run(Order& order) {
    ControlLoop loop;
    Prober prober(loop);
    prober.add(order.spec, Duration(order.interval), "prober", [&](const ProbeResult& result) {
        const nlohmann::json line = {{"outcome", name_of(result.outcome)},
                                     {"reason", reason_of(result.outcome)},
                                     {"answer", result.answer},
                                     {"took", std::chrono::duration<double>(result.took).count()}};
        std::cout << line.dump() << std::endl;
        if (--order.times == 0) loop.stop();
    });
    loop.run();
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
    weir::Order order;
    CLI::App app{"Probes one target"};
    weir::read_options(app, order);
    CLI11_PARSE(app, argc, argv);
    if (!weir::complete(order)) {
        std::cerr << "prober: no such protocol or address\n";
        return 1;
    }
    weir::run(order);
    return 0;
}
