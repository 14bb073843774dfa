#include "ctrl/health/udp_probe.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "ctrl/config/diagnostics.h"

namespace weir {

// Connected: the kernel gives us this peer's datagrams only, and ICMP's "port unreachable" as ECONNREFUSED.
int UdpProbe::send() {
    if (const int error = socket_.open(spec_, SOCK_DGRAM, IPPROTO_UDP)) return error;
    socket_.hear_errors(spec_);
    if (const int error = socket_.dial(spec_)) return error;
    if (::send(socket_.fd(), spec_.send.data(), spec_.send.size(), 0) < 0) return errno;
    return socket_.watch(EPOLLIN, *this);
}

void UdpProbe::start() {
    if (const int error = send()) end(verdict_of_error(error, spec_.address));
}

void UdpProbe::on_ready(int /*fd*/, std::uint32_t events) {
    if ((events & EPOLLERR) != 0)
        if (const int error = socket_.heard_error()) return end(verdict_of_error(error, spec_.address));
    std::array<char, 2'048> buffer;  // more than any `expect`; the rest of the datagram does not matter
    const ssize_t length = recv(socket_.fd(), buffer.data(), buffer.size(), 0);
    if (length < 0) {
        if (errno != EAGAIN && errno != EINTR) end(verdict_of_error(errno, spec_.address));
        return;
    }
    const std::string_view answer(buffer.data(), static_cast<std::size_t>(length));
    if (answer.starts_with(spec_.expect))
        end({ProbeOutcome::success, fmt::format("answered {} bytes", length)});
    else
        end({ProbeOutcome::mismatch,
             fmt::format("answered {}, expected {}", in_quotes(answer), in_quotes(spec_.expect))});
}

void UdpProbe::end(Verdict verdict) {
    socket_.shut();
    conclude_(std::move(verdict));
}

}  // namespace weir
