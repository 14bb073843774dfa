#include "ctrl/health/icmp_probe.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>

namespace weir {
namespace {

// Type, code, checksum, identifier, sequence number; then data, which comes back as it was sent.
constexpr std::size_t kHeader = 8, kIdentifier = 4, kSequence = 6;

// RFC 1071. Of ICMPv6 the kernel makes it, since it covers the addresses.
std::uint16_t checksum(std::span<const std::uint8_t> bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += std::uint32_t{bytes[i]} << 8 | bytes[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

}  // namespace

// A ping socket needs no privilege but a group that net.ipv4.ping_group_range names; a raw one needs
// CAP_NET_RAW.
int IcmpProbe::open() {
    const bool v4 = spec_.destination().is_v4();
    const int protocol = v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
    const int error = socket_.open(spec_, SOCK_DGRAM, protocol);
    if (error != EACCES && error != EPERM) return error;
    raw_ = true;
    if (const int refused = socket_.open(spec_, SOCK_RAW, protocol)) return refused;
    if (!v4) {
        icmp6_filter filter;
        ICMP6_FILTER_SETBLOCKALL(&filter);
        ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
        setsockopt(socket_.fd(), IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter));
    }
    return 0;
}

int IcmpProbe::send() {
    if (const int error = open()) return error;
    socket_.hear_errors(spec_);
    if (const int error = socket_.dial(spec_)) return error;
    // Identifier, sequence number and data are random: one socket a probe, and every raw socket hears all
    // replies.
    if (getrandom(request_.data() + kIdentifier, request_.size() - kIdentifier, 0) < 0) return errno;
    const bool v4 = spec_.destination().is_v4();
    request_[0] = v4 ? std::uint8_t{ICMP_ECHO} : std::uint8_t{ICMP6_ECHO_REQUEST};
    if (v4) {
        const std::uint16_t sum = checksum(request_);
        request_[2] = static_cast<std::uint8_t>(sum >> 8);
        request_[3] = static_cast<std::uint8_t>(sum);
    }
    if (::send(socket_.fd(), request_.data(), request_.size(), 0) < 0) return errno;
    return socket_.watch(EPOLLIN, *this);
}

void IcmpProbe::start() {
    if (const int error = send()) end(verdict_of_error(error, spec_.address));
}

bool IcmpProbe::is_our_reply(std::span<const std::uint8_t> packet) const {
    const bool v4 = spec_.destination().is_v4();
    if (raw_ && v4) {  // with its IP header
        const std::size_t header = packet.empty() ? 0 : std::size_t{packet[0] & 0xfu} * 4;
        if (packet.size() < header) return false;
        packet = packet.subspan(header);
    }
    const std::uint8_t reply = v4 ? std::uint8_t{ICMP_ECHOREPLY} : std::uint8_t{ICMP6_ECHO_REPLY};
    if (packet.size() != request_.size() || packet[0] != reply) return false;
    // A ping socket's kernel writes its own identifier and lets nothing else in.
    const std::size_t from = raw_ ? kIdentifier : kSequence;
    static_assert(kSequence + 2 == kHeader);
    return std::equal(packet.begin() + static_cast<std::ptrdiff_t>(from), packet.end(),
                      request_.begin() + from);
}

void IcmpProbe::on_ready(int /*fd*/, std::uint32_t events) {
    if ((events & EPOLLERR) != 0)
        if (const int error = socket_.heard_error()) return end(verdict_of_error(error, spec_.address));
    std::array<std::uint8_t, 256> packet;
    const ssize_t length = recv(socket_.fd(), packet.data(), packet.size(), 0);
    if (length < 0) {
        if (errno != EAGAIN && errno != EINTR) end(verdict_of_error(errno, spec_.address));
        return;
    }
    if (is_our_reply({packet.data(), static_cast<std::size_t>(length)}))
        end({ProbeOutcome::success, "echo reply"});
}

void IcmpProbe::end(Verdict verdict) {
    socket_.shut();
    conclude_(std::move(verdict));
}

}  // namespace weir
