// The kernel's network interfaces as they come, change and go: net_af_packet and net_af_xdp say "up" whatever
// becomes of the interface that they sit on.
//
// Theory of operation. A netlink socket (RTNLGRP_LINK) that never blocks. open() asks for all interfaces;
// read() takes in what the kernel has told since. When the kernel had to leave messages out (the socket's
// buffer was full), read() asks for all interfaces again, and what is not among them is gone. A `downs` that
// has grown says that an interface was down in between, even if it is up by the time of read().
//
// One thread; the control core's. Of the network namespace that the process is in when open() is called.
#pragma once

#include <netlink/netlink.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "drivers/result.h"

namespace weir {

struct LinkFacts {
    std::string name;
    bool up = false;          // set up by the operator (IFF_UP)
    bool running = false;     // and has a carrier (IFF_RUNNING)
    std::uint32_t mtu = 0;    // bytes of an IP packet
    std::uint64_t downs = 0;  // how often it was seen not up
};

class LinkWatch {
  public:
    // Knows every interface from the start. Refuses with the machine's error.
    static Result<std::unique_ptr<LinkWatch>> open();
    LinkWatch(const LinkWatch&) = delete;
    LinkWatch& operator=(const LinkWatch&) = delete;

    // Readable when read() has something to do.
    [[nodiscard]] int fd() const noexcept { return nl_socket_get_fd(socket_.get()); }
    void read();

    // {interface index, facts}; null where there is no interface of that name.
    using Links = std::map<int, LinkFacts>;
    [[nodiscard]] const Links::value_type* find(const std::string& name) const noexcept;

  private:
    struct Free {
        void operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }
    };
    LinkWatch() = default;
    [[nodiscard]] Result<void> start();
    [[nodiscard]] int ask_for_all() noexcept;
    void take(nlmsghdr* message);
    void forget_unseen();
    static int on_message(nl_msg* message, void* watch);
    static int on_dump_end(nl_msg* message, void* watch);

    std::unique_ptr<nl_sock, Free> socket_;
    Links links_;
    std::map<int, bool> seen_;  // by the dump that is under way
    bool dumping_ = false;
};

}  // namespace weir
