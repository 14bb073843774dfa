#include "ctrl/health/tcp_probe.h"

#include <netinet/tcp.h>

#include <cerrno>

namespace weir {

int TcpProbe::dial() {
    if (const int error = socket_.open(spec_, SOCK_STREAM, IPPROTO_TCP)) return error;
    // Closing sends RST. After a FIN the connection would linger here in TIME_WAIT, a minute each, and at the
    // server until it closes too.
    const linger abort{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_.fd(), SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
    // The handshake's last ACK is delayed, and the RST goes first: the connection never enters the server's
    // accept queue, and the server's program is not woken. A full accept queue still shows, since its kernel
    // then answers no SYN.
    const int off = 0;
    setsockopt(socket_.fd(), IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
    const int error = socket_.dial(spec_);
    if (error != 0 && error != EINPROGRESS) return error;
    return socket_.watch(EPOLLOUT, *this);
}

void TcpProbe::start() {
    const int error = dial();
    if (error == 0) return;
    socket_.shut();
    conclude_(verdict_of_error(error, spec_.address));
}

void TcpProbe::on_ready(int /*fd*/, std::uint32_t /*events*/) {
    const int error = socket_.pending_error();
    socket_.shut();
    conclude_(error == 0 ? Verdict{ProbeOutcome::success, "connected"}
                         : verdict_of_error(error, spec_.address));
}

}  // namespace weir
