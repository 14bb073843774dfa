// One rtnetlink socket, by libnl. The control thread.
#pragma once

#include <netlink/netlink.h>

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "drivers/result.h"

namespace weir {

class NetlinkSocket {
  public:
    // Called with each message; valid until it returns. Must not throw: C frames lie between.
    using Receiver = std::function<void(nl_msg&)>;
    enum class Drained : std::uint8_t { empty, more, lost };

    // For requests: blocking, the kernel answers while it takes them.
    static Result<std::unique_ptr<NetlinkSocket>> for_requests();
    // For notifications of the multicast groups (RTNLGRP_*): non-blocking, with a receive buffer of
    // `buffer_bytes` (beyond net.core.rmem_max only with CAP_NET_ADMIN).
    static Result<std::unique_ptr<NetlinkSocket>> for_events(std::span<const int> groups, int buffer_bytes);

    NetlinkSocket(const NetlinkSocket&) = delete;
    NetlinkSocket& operator=(const NetlinkSocket&) = delete;
    ~NetlinkSocket();

    // Every object of a kind: RTM_GETLINK, RTM_GETROUTE and so on, with that type's header. Tried again, from
    // the beginning, if the kernel's list changed meanwhile: `begin` is called before each attempt.
    Result<void> dump(int type, std::span<const std::byte> header, const std::function<void()>& begin,
                      const Receiver& receiver);
    // A request of one message, which this frees, and the kernel's acknowledgement: 0, or a libnl error
    // number.
    int request(nl_msg* message);
    // At most `limit` datagrams of those that have arrived. `lost`: the kernel had to drop some (ENOBUFS).
    Drained drain(unsigned limit, const Receiver& receiver);

    [[nodiscard]] int fd() const;

  private:
    NetlinkSocket();
    Result<void> connect();

    struct Free {
        void operator()(nl_sock* socket) const;
    };
    std::unique_ptr<nl_sock, Free> socket_;
    const Receiver* receiver_ = nullptr;  // of the call under way
};

}  // namespace weir
