// Wires of the kernel (veth pairs) for tests in a network namespace of their own. Root only.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace weir::test {

inline void shell(const std::string& command) {
    ASSERT_EQ(std::system((command + " 2>&1").c_str()), 0) << command;
}

// Before EAL: its threads must be in the namespace too. It vanishes with the process, however that ends.
inline void enter_own_network() {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "no network namespace of our own";
    shell("ip link set lo up");
}

// weir's end and the kernel's, up. Without IPv6, which would add frames of its own.
inline void make_wire(const std::string& one, const std::string& other, unsigned mtu = 1500) {
    shell("ip link add " + one + " type veth peer name " + other);
    for (const std::string& end : {one, other}) {
        std::ofstream("/proc/sys/net/ipv6/conf/" + end + "/disable_ipv6") << 1;
        shell("ip link set " + end + " mtu " + std::to_string(mtu) + " up");
    }
}

// The kernel's end of a wire, as a raw socket.
class RawSocket {
  public:
    using Bytes = std::vector<std::uint8_t>;

    explicit RawSocket(const std::string& interface)
        : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
        EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    }
    RawSocket(const RawSocket&) = delete;
    RawSocket& operator=(const RawSocket&) = delete;
    ~RawSocket() { close(socket_); }

    void send(const Bytes& frame) const {
        EXPECT_EQ(::send(socket_, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
    }
    // The wire may have no other end.
    void offer(const Bytes& frame) const { (void)::send(socket_, frame.data(), frame.size(), 0); }
    // Takes what has come in from the wire; how many frames of it are of this EtherType, or of any.
    [[nodiscard]] std::size_t take_all(std::uint16_t type) const {
        return take_those([type](std::uint16_t its_type) { return its_type == type; });
    }
    std::size_t take_any() const {
        return take_those([](std::uint16_t) { return true; });
    }
    // The next frame of weir's test protocol that came in from the wire; empty after a second.
    Bytes receive() const {
        for (pollfd wait{socket_, POLLIN, 0}; poll(&wait, 1, 1'000) == 1;) {
            Bytes frame(70'000);
            sockaddr_ll from{};
            socklen_t length = sizeof(from);
            const auto got =
                recvfrom(socket_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
            if (got < 14 || from.sll_pkttype == PACKET_OUTGOING || frame[12] != 0x88 || frame[13] != 0xb5)
                continue;
            frame.resize(static_cast<std::size_t>(got));
            return frame;
        }
        return {};
    }

  private:
    template <class Wanted>
    std::size_t take_those(Wanted&& wanted) const {
        std::size_t count = 0;
        std::uint8_t frame[2048];
        sockaddr_ll from{};
        socklen_t length = sizeof(from);
        while (recvfrom(socket_, frame, sizeof(frame), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from),
                        &length) >= 14)
            if (from.sll_pkttype != PACKET_OUTGOING &&
                wanted(static_cast<std::uint16_t>(frame[12] << 8 | frame[13])))
                ++count;
        return count;
    }
    int socket_;
};

}  // namespace weir::test
