// A probe's socket, and what the kernel says of it in plain words.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <utility>

#include "ctrl/health/probe_events.h"
#include "ctrl/health/probe_spec.h"
#include "ctrl/health/running_probe.h"

namespace weir {

// Owns a descriptor, and its watch.
class ProbeSocket {
  public:
    explicit ProbeSocket(ProbeEvents& events) : events_(events) {}
    ~ProbeSocket() { shut(); }
    ProbeSocket(const ProbeSocket&) = delete;
    ProbeSocket& operator=(const ProbeSocket&) = delete;

    // From the spec's source and interface. 0, or the error number.
    int open(const ProbeSpec& spec, int type, int protocol);
    // 0, EINPROGRESS, or the error number.
    int dial(const ProbeSpec& spec);
    // 0, or the error number.
    int watch(std::uint32_t interest, Watcher& watcher);
    // Of an earlier operation; 0 if there is none. Asking clears it.
    [[nodiscard]] int pending_error() const;
    // Of a socket without connections: ICMP's "unreachable", and a neighbour that does not answer, are errors
    // of it.
    void hear_errors(const ProbeSpec& spec);
    // The error that EPOLLERR stands for; 0 if it has gone.
    [[nodiscard]] int heard_error() const;
    void shut();
    [[nodiscard]] int fd() const { return fd_; }

  private:
    ProbeEvents& events_;
    int fd_ = -1;
};

// Non-blocking, bound to the spec's source and interface, or the negative error number. Through a VIP the
// workers know by `ports`, before it connects, whom it is for.
[[nodiscard]] int open_probe_socket(const ProbeSpec& spec, int family, int type, int protocol,
                                    ProbePorts* ports);

struct SocketAddress {
    sockaddr_storage storage;
    socklen_t length;
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};
[[nodiscard]] SocketAddress socket_address(const IpAddress& address, std::uint16_t port);

// What an error of a socket call says about the backend at `address`.
[[nodiscard]] Verdict verdict_of_error(int error, const IpAddress& address);

}  // namespace weir
