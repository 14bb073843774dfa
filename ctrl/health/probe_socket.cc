#include "ctrl/health/probe_socket.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ctrl/health/probe_route.h"

namespace weir {

SocketAddress socket_address(const IpAddress& address, std::uint16_t port) {
    SocketAddress result{};
    if (address.is_v4()) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&v4.sin_addr, address.bytes().data(), sizeof(v4.sin_addr));
        std::memcpy(&result.storage, &v4, sizeof(v4));
        result.length = sizeof(v4);
    } else {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&v6.sin6_addr, address.bytes().data(), sizeof(v6.sin6_addr));
        std::memcpy(&result.storage, &v6, sizeof(v6));
        result.length = sizeof(v6);
    }
    return result;
}

namespace {

std::uint16_t port_of(const sockaddr_storage& address) {
    // Both families have it in the same place.
    sockaddr_in with_port{};
    std::memcpy(&with_port, &address, sizeof(with_port));
    return ntohs(with_port.sin_port);
}

// Puts the socket on the way of probes through a VIP, and says under its port whom it is for. False: errno.
bool lead_to_backend(int fd, const ProbeSpec& spec, int protocol, ProbePorts* ports) {
    if (ports == nullptr) {
        errno = ENODEV;
        return false;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &kProbeMark, sizeof(kProbeMark)) != 0) return false;
    sockaddr_storage bound{};
    socklen_t length = sizeof(bound);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) return false;
    const bool udp = protocol == IPPROTO_UDP;
    ports->set(udp ? IpProtocol::udp : IpProtocol::tcp, port_of(bound), spec.via->way);
    return true;
}

}  // namespace

int open_probe_socket(const ProbeSpec& spec, int family, int type, int protocol, ProbePorts* ports) {
    const int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0) return -errno;
    const auto fail = [fd] {
        const int error = errno;
        close(fd);
        return -error;
    };
    if (!spec.interface.empty() && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, spec.interface.c_str(),
                                              static_cast<socklen_t>(spec.interface.size())) != 0)
        return fail();
    if (spec.source || spec.via) {
        const IpAddress any = family == AF_INET ? IpAddress(Ipv4Address{}) : IpAddress(Ipv6Address{});
        const SocketAddress source = socket_address(spec.source.value_or(any), 0);
        if (bind(fd, source.get(), source.length) != 0) return fail();
    }
    if (spec.via && !lead_to_backend(fd, spec, protocol, ports)) return fail();
    return fd;
}

int ProbeSocket::open(const ProbeSpec& spec, int type, int protocol) {
    const int family = spec.destination().is_v4() ? AF_INET : AF_INET6;
    const int fd = open_probe_socket(spec, family, type, protocol, events_.ports());
    if (fd < 0) return -fd;
    shut();
    fd_ = fd;
    return 0;
}

int ProbeSocket::dial(const ProbeSpec& spec) {
    const SocketAddress peer = socket_address(spec.destination(), spec.port);
    return connect(fd_, peer.get(), peer.length) == 0 ? 0 : errno;
}

int ProbeSocket::watch(std::uint32_t interest, Watcher& watcher) {
    return events_.watch(fd_, interest, watcher) ? 0 : errno;
}

int ProbeSocket::pending_error() const {
    int error = 0;
    socklen_t length = sizeof(error);
    return getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

void ProbeSocket::hear_errors(const ProbeSpec& spec) {
    const bool v4 = spec.destination().is_v4();
    const int on = 1;
    setsockopt(fd_, v4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6}, v4 ? IP_RECVERR : IPV6_RECVERR, &on,
               sizeof(on));
}

int ProbeSocket::heard_error() const {
    if (const int error = pending_error()) return error;
    // The queue of errors alone keeps the socket ready.
    char byte;
    recv(fd_, &byte, sizeof(byte), MSG_ERRQUEUE | MSG_DONTWAIT);
    return 0;
}

void ProbeSocket::shut() {
    if (fd_ < 0) return;
    events_.forget_closing(fd_);
    close(fd_);
    fd_ = -1;
}

Verdict verdict_of_error(int error, const IpAddress& address) {
    using enum ProbeOutcome;
    switch (error) {
        case ECONNREFUSED:
            return {failed, "connection refused"};
        case ECONNRESET:
        case EPIPE:
            return {failed, "connection reset"};
        // The kernel's neighbour entry failed, or a router says so. Either way the host has said nothing.
        case EHOSTUNREACH:
        case EHOSTDOWN:
            return {timeout, address.is_v4() ? "no ARP answer: host down?" : "no ND answer: host down?"};
        case ETIMEDOUT:
            return {timeout, "no answer"};
        case ENETUNREACH:
            return {failed, "network unreachable: no route?"};
        case EACCES:
        case EPERM:
            return {failed, "sending is forbidden: a firewall rule of this machine, or of a router?"};
        case EMFILE:
        case ENFILE:
        case ENOMEM:
        case ENOBUFS:
        case ENOSPC:
        case EADDRNOTAVAIL:
        case ENODEV:
        case EAFNOSUPPORT:
        case EPROTONOSUPPORT:
            return {std::nullopt, std::strerror(error)};
        default:
            return {failed, std::strerror(error)};
    }
}

}  // namespace weir
