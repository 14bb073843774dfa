// A tunnel's end for backends in the lab: kernels without ipip, ip6_tunnel, sit and fou can hold one too.
//
// Theory of operation. Raw sockets of IP protocols 4 and 41 and UDP sockets on port 6080, each over IPv4 and
// IPv6, get what is addressed to this host. The outer header has been checked and removed by the kernel (a
// raw IPv4 socket leaves it on); the inner packet is written into a TUN device, where the kernel takes it for
// received: the VIP stands on lo, and answers leave by the host's own route, past the balancer. Each kind has
// a device of its own, so its counters, and tcpdump on it, say what came through which tunnel:
//
//     4in4 6in4 (over IPv4)   4in6 6in6 (over IPv6)   gue4 gue6 (either inside)
//
// What is not the packet that its envelope promises is left out and counted as the device's rx_dropped.
//
//     decapsulator          needs CAP_NET_ADMIN and CAP_NET_RAW; says "ready" on stdout; ends by a signal
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

namespace {

constexpr std::uint16_t kGuePort = 6080;         // IANA: gue
constexpr int kSocketBuffer = 16 * 1024 * 1024;  // bytes: a burst while this program waits for the CPU
constexpr std::size_t kBatch = 64;
constexpr std::size_t kMaxPacket = 9216;

[[noreturn]] void fail(const char* what, const char* which) {
    std::fprintf(stderr, "decapsulator: %s (%s): %s\n", what, which, std::strerror(errno));
    std::exit(1);
}

enum class Envelope { ipv4_header, none, gue };  // what stands before the inner packet in what a socket gives

struct Kind {
    const char* device;
    int family;
    int type;
    int protocol;
    Envelope envelope;
    unsigned inner_version;  // 0: either
};

constexpr std::array kKinds = {
    Kind{"4in4", AF_INET, SOCK_RAW, IPPROTO_IPIP, Envelope::ipv4_header, 4},
    Kind{"6in4", AF_INET, SOCK_RAW, IPPROTO_IPV6, Envelope::ipv4_header, 6},
    Kind{"4in6", AF_INET6, SOCK_RAW, IPPROTO_IPIP, Envelope::none, 4},
    Kind{"6in6", AF_INET6, SOCK_RAW, IPPROTO_IPV6, Envelope::none, 6},
    Kind{"gue4", AF_INET, SOCK_DGRAM, 0, Envelope::gue, 0},
    Kind{"gue6", AF_INET6, SOCK_DGRAM, 0, Envelope::gue, 0},
};

int open_socket(const Kind& kind) {
    const int fd = ::socket(kind.family, kind.type | SOCK_NONBLOCK | SOCK_CLOEXEC, kind.protocol);
    if (fd < 0) fail("no socket", kind.device);
    if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer, sizeof(kSocketBuffer)) != 0)
        fail("no receive buffer of 16 MiB", kind.device);
    if (kind.envelope != Envelope::gue) return fd;
    const int only = 1;
    sockaddr_in6 v6{.sin6_family = AF_INET6, .sin6_port = htons(kGuePort)};
    sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(kGuePort)};
    const bool is_v6 = kind.family == AF_INET6;
    if (is_v6 && ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) != 0)
        fail("no socket for IPv6 only", kind.device);
    const auto* address = is_v6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
    if (::bind(fd, address, is_v6 ? sizeof(v6) : sizeof(v4)) != 0) fail("UDP port 6080", kind.device);
    return fd;
}

// A TUN device that is up; reads and writes are bare IP packets.
int open_device(const Kind& kind) {
    const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) fail("/dev/net/tun", kind.device);
    ifreq request{};
    std::snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", kind.device);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (::ioctl(fd, TUNSETIFF, &request) != 0) fail("no TUN device", kind.device);
    const int any = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_flags = IFF_UP;
    if (any < 0 || ::ioctl(any, SIOCSIFFLAGS, &request) != 0) fail("device does not come up", kind.device);
    ::close(any);
    return fd;
}

using Bytes = std::span<const std::uint8_t>;

// GUE variant 0 (draft-ietf-intarea-gue-09, 3): two bits of variant, one "control", five of the options'
// length in words; the protocol; 16 bits of flags. Empty if it is none that holds an IP packet.
Bytes open_gue(Bytes datagram) {
    if (datagram.size() < 4 || (datagram[0] & 0xe0) != 0) return {};
    const std::size_t length = 4 + std::size_t{datagram[0] & 0x1fu} * 4;
    if (datagram.size() <= length) return {};
    const Bytes inner = datagram.subspan(length);
    const int promised = inner[0] >> 4 == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
    return datagram[1] == promised ? inner : Bytes{};
}

Bytes open_envelope(const Kind& kind, Bytes packet) {
    if (kind.envelope == Envelope::gue) {
        packet = open_gue(packet);
    } else if (kind.envelope == Envelope::ipv4_header) {
        const std::size_t length = packet.empty() ? 0 : std::size_t{packet[0] & 0x0fu} * 4;
        packet = packet.size() > length ? packet.subspan(length) : Bytes{};
    }
    const bool is_promised =
        !packet.empty() && (kind.inner_version == 0 || packet[0] >> 4 == kind.inner_version);
    return is_promised ? packet : Bytes{};
}

class Tunnel {
  public:
    explicit Tunnel(const Kind& kind) : kind_(kind), socket_(open_socket(kind)), device_(open_device(kind)) {
        for (std::size_t i = 0; i < kBatch; ++i) {
            vectors_[i] = {.iov_base = packets_[i].data(), .iov_len = kMaxPacket};
            messages_[i].msg_hdr.msg_iov = &vectors_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    [[nodiscard]] int socket() const { return socket_; }

    void move_packets() {
        const int taken = ::recvmmsg(socket_, messages_.data(), kBatch, 0, nullptr);
        for (int i = 0; i < taken; ++i) {
            const auto n = static_cast<std::size_t>(i);
            const Bytes inner = open_envelope(kind_, Bytes(packets_[n].data(), messages_[n].msg_len));
            // The kernel counts what it refuses, one byte of no IP version too: rx_dropped.
            static constexpr std::uint8_t kNoPacket[1] = {0};
            const Bytes written = inner.empty() ? Bytes(kNoPacket) : inner;
            if (::write(device_, written.data(), written.size()) < 0 && errno != EINVAL && errno != EAGAIN)
                fail("write", kind_.device);
        }
    }

  private:
    const Kind& kind_;
    int socket_;
    int device_;
    std::array<std::array<std::uint8_t, kMaxPacket>, kBatch> packets_;
    std::array<iovec, kBatch> vectors_{};
    std::array<mmsghdr, kBatch> messages_{};
};

}  // namespace

int main() {
    static std::array<Tunnel, kKinds.size()> tunnels = {Tunnel(kKinds[0]), Tunnel(kKinds[1]),
                                                        Tunnel(kKinds[2]), Tunnel(kKinds[3]),
                                                        Tunnel(kKinds[4]), Tunnel(kKinds[5])};
    std::array<pollfd, kKinds.size()> ready{};
    for (std::size_t i = 0; i < tunnels.size(); ++i) ready[i] = {.fd = tunnels[i].socket(), .events = POLLIN};
    std::puts("ready");
    std::fflush(stdout);
    while (::poll(ready.data(), ready.size(), -1) >= 0 || errno == EINTR)
        for (std::size_t i = 0; i < tunnels.size(); ++i)
            if (ready[i].revents != 0) tunnels[i].move_packets();
    fail("poll", "all");
}
