#include "ctrl/metrics/prometheus_exporter.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <prometheus/exposer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

namespace weir {
namespace {

std::optional<sockaddr_in> parse_listen(const std::string& listen) {
    const std::size_t colon = listen.rfind(':');
    if (colon == std::string::npos) return std::nullopt;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    if (inet_pton(AF_INET, listen.substr(0, colon).c_str(), &address.sin_addr) != 1) return std::nullopt;
    std::uint16_t number = 0;
    const char* end = listen.data() + listen.size();
    const auto parsed = std::from_chars(listen.data() + colon + 1, end, number);
    if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
    address.sin_port = htons(number);
    return address;
}

// civetweb does not say why it could not listen: bind once more and see.
std::string why_not(const std::string& listen, const sockaddr_in& address) {
    const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) return fmt::format("metrics: no socket: {}", std::strerror(errno));
    sockaddr generic;
    std::memcpy(&generic, &address, sizeof(generic));
    const int bound = bind(probe, &generic, sizeof(address));
    const int reason = bound == 0 ? 0 : errno;
    close(probe);
    if (reason == EADDRINUSE) return fmt::format("{} is in use: change metrics.listen", listen);
    if (reason == EADDRNOTAVAIL)
        return fmt::format("{} is no address of this machine: change metrics.listen", listen);
    if (reason != 0) return fmt::format("{}: {}: change metrics.listen", listen, std::strerror(reason));
    return fmt::format("{}: the metrics listener did not start: try again, or change metrics.listen", listen);
}

// A client that comes and goes.
void knock(const sockaddr_in& address) {
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client < 0) return;
    sockaddr generic;
    std::memcpy(&generic, &address, sizeof(generic));
    (void)connect(client, &generic, sizeof(address));
    close(client);
}

}  // namespace

PrometheusExporter::PrometheusExporter() : collector_(std::make_shared<MetricsCollector>()) {}

// civetweb looks for its order to stop when a client comes, else every two seconds.
PrometheusExporter::~PrometheusExporter() {
    if (!exposer_) return;
    std::atomic<bool> stopped{false};
    std::thread stopping([&] {
        exposer_.reset();
        stopped.store(true, std::memory_order_release);
    });
    while (!stopped.load(std::memory_order_acquire)) {
        knock(address_);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    stopping.join();
}

Result<std::unique_ptr<PrometheusExporter>> PrometheusExporter::start(const std::string& listen) {
    const auto address = parse_listen(listen);
    if (!address)
        return operator_error(fmt::format(
            "metrics.listen \"{}\" must be an IPv4 address and a port, such as 127.0.0.1:9101", listen));
    std::unique_ptr<PrometheusExporter> exporter(new PrometheusExporter);
    try {
        exporter->exposer_ = std::make_unique<prometheus::Exposer>(listen, 1);
        exporter->exposer_->RegisterCollectable(exporter->collector_);
        exporter->address_ = *address;
        exporter->address_.sin_port = htons(static_cast<std::uint16_t>(exporter->l4_port()));
    } catch (const std::exception&) {
        return operator_error(why_not(listen, *address));
    }
    return exporter;
}

int PrometheusExporter::l4_port() const {
    const std::vector<int> ports = exposer_->GetListeningPorts();
    return ports.empty() ? 0 : ports.front();
}

}  // namespace weir
