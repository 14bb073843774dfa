#include "ctrl/kernel/netlink_socket.h"

#include <fmt/format.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace weir {
namespace {

auto failed(const char* what, int libnl_error) {
    return machine_error(fmt::format("netlink: {}: {}", what, nl_geterror(libnl_error)));
}

}  // namespace

void NetlinkSocket::Free::operator()(nl_sock* socket) const { nl_socket_free(socket); }

NetlinkSocket::NetlinkSocket() : socket_(nl_socket_alloc()) {}

NetlinkSocket::~NetlinkSocket() = default;

Result<void> NetlinkSocket::connect() {
    if (socket_ == nullptr) return machine_error("netlink: no memory for a socket");
    const auto call = [](nl_msg* message, void* self) -> int {
        const Receiver* receiver = static_cast<NetlinkSocket*>(self)->receiver_;
        if (receiver != nullptr) (*receiver)(*message);
        return NL_OK;
    };
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, call, this);
    // Room for what the kernel puts into one datagram at most; else libnl looks at each twice.
    constexpr std::size_t kDatagram = 64 << 10;
    nl_socket_set_msg_buf_size(socket_.get(), kDatagram);
    nl_socket_disable_msg_peek(socket_.get());
    const int error = nl_connect(socket_.get(), NETLINK_ROUTE);
    if (error < 0) return failed("connect", error);
    return {};
}

Result<std::unique_ptr<NetlinkSocket>> NetlinkSocket::for_requests() {
    std::unique_ptr<NetlinkSocket> socket(new NetlinkSocket);
    if (auto connected = socket->connect(); !connected) return tl::make_unexpected(connected.error());
    return socket;
}

Result<std::unique_ptr<NetlinkSocket>> NetlinkSocket::for_events(std::span<const int> groups,
                                                                 int buffer_bytes) {
    std::unique_ptr<NetlinkSocket> socket(new NetlinkSocket);
    if (auto connected = socket->connect(); !connected) return tl::make_unexpected(connected.error());
    nl_sock* raw = socket->socket_.get();
    nl_socket_disable_seq_check(raw);
    if (setsockopt(socket->fd(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof(buffer_bytes)) != 0)
        setsockopt(socket->fd(), SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
    for (const int group : groups)
        if (const int error = nl_socket_add_membership(raw, group); error < 0)
            return failed("subscribe", error);
    nl_socket_set_nonblocking(raw);
    return socket;
}

Result<void> NetlinkSocket::dump(int type, std::span<const std::byte> header,
                                 const std::function<void()>& begin, const Receiver& receiver) {
    constexpr int kAttempts = 5;
    int error = 0;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        begin();
        nl_msg* message = nlmsg_alloc_simple(type, NLM_F_DUMP);
        if (message == nullptr) return machine_error("netlink: no memory for a message");
        nlmsg_append(message, const_cast<std::byte*>(header.data()), header.size(), NLMSG_ALIGNTO);
        error = nl_send_auto(socket_.get(), message);
        nlmsg_free(message);
        receiver_ = &receiver;
        if (error >= 0) error = nl_recvmsgs_default(socket_.get());
        receiver_ = nullptr;
        if (error >= 0) return {};
        if (error != -NLE_DUMP_INTR) break;
    }
    return failed("dump", error);
}

int NetlinkSocket::request(nl_msg* message) { return nl_send_sync(socket_.get(), message); }

NetlinkSocket::Drained NetlinkSocket::drain(unsigned limit, const Receiver& receiver) {
    receiver_ = &receiver;
    int error = 0;
    for (unsigned datagram = 0; datagram < limit && error >= 0; ++datagram)
        error = nl_recvmsgs_default(socket_.get());
    receiver_ = nullptr;
    if (error >= 0) return Drained::more;
    // libnl says ENOBUFS with NLE_NOMEM. Whatever else went wrong, a message may be missing.
    return error == -NLE_AGAIN ? Drained::empty : Drained::lost;
}

int NetlinkSocket::fd() const { return nl_socket_get_fd(socket_.get()); }

}  // namespace weir
