// The kernel's side of a host interface: sockets that a test sends and receives by.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "tests/support/packet_builder.h"

namespace weir::test {

// A UDP socket of the kernel's, bound to an address of the host interface.
class UdpSocket {
  public:
    UdpSocket(const IpAddress& address, std::uint16_t port)
        : v4_(address.is_v4()), socket_(socket(v4_ ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        const int room = 4 << 20;
        EXPECT_EQ(setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)), 0);
        const auto at = sockaddr_of(address, port);
        EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&at), size()), 0) << std::strerror(errno);
    }
    UdpSocket(const UdpSocket&) = delete;
    UdpSocket& operator=(const UdpSocket&) = delete;
    ~UdpSocket() { close(socket_); }

    void send(const IpAddress& to, std::uint16_t port, const Bytes& data) const {
        const auto at = sockaddr_of(to, port);
        EXPECT_EQ(
            sendto(socket_, data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&at), size()),
            static_cast<ssize_t>(data.size()))
            << std::strerror(errno);
    }
    // The next datagram; nothing after a second.
    [[nodiscard]] std::optional<Bytes> receive() const {
        pollfd wait{socket_, POLLIN, 0};
        if (poll(&wait, 1, 1'000) != 1) return std::nullopt;
        Bytes data(70'000);
        const ssize_t length = recv(socket_, data.data(), data.size(), 0);
        data.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
        return data;
    }

  private:
    [[nodiscard]] socklen_t size() const { return v4_ ? sizeof(sockaddr_in) : sizeof(sockaddr_in6); }
    static sockaddr_storage sockaddr_of(const IpAddress& address, std::uint16_t port) {
        sockaddr_storage storage{};
        if (address.is_v4()) {
            auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
            v4->sin_family = AF_INET;
            v4->sin_port = htons(port);
            std::memcpy(&v4->sin_addr, address.bytes().data(), 4);
        } else {
            auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
            v6->sin6_family = AF_INET6;
            v6->sin6_port = htons(port);
            std::memcpy(&v6->sin6_addr, address.bytes().data(), 16);
        }
        return storage;
    }
    bool v4_;
    int socket_;
};

// All that the kernel receives on an interface, and a way to send on it byte by byte.
class PacketSocket {
  public:
    explicit PacketSocket(const std::string& interface)
        : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
        EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
        const int on = 1;
        EXPECT_EQ(setsockopt(socket_, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)), 0);
    }
    PacketSocket(const PacketSocket&) = delete;
    PacketSocket& operator=(const PacketSocket&) = delete;
    ~PacketSocket() { close(socket_); }

    void send(const Bytes& frame) const {
        EXPECT_EQ(::send(socket_, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
    }
    [[nodiscard]] int descriptor() const noexcept { return socket_; }
    // The VLAN id (the kernel keeps it beside the frame) and length of the next frame that came in from the
    // wire and ends like `frame`; nothing after a second.
    [[nodiscard]] std::optional<std::pair<unsigned, std::size_t>> receive_like(const Bytes& frame) const {
        for (pollfd wait{socket_, POLLIN, 0}; poll(&wait, 1, 1'000) == 1;) {
            Bytes data(70'000), control(256);
            sockaddr_ll from{};
            iovec part{data.data(), data.size()};
            msghdr message{&from, sizeof(from), &part, 1, control.data(), control.size(), 0};
            const auto length = static_cast<std::size_t>(std::max<ssize_t>(recvmsg(socket_, &message, 0), 0));
            data.resize(length);
            if (from.sll_pkttype == PACKET_OUTGOING || length < 20) continue;
            if (!std::equal(frame.end() - 8, frame.end(), data.end() - 8)) continue;
            unsigned vlan = 0;
            for (cmsghdr* part_of = CMSG_FIRSTHDR(&message); part_of;
                 part_of = CMSG_NXTHDR(&message, part_of))
                if (part_of->cmsg_type == PACKET_AUXDATA) {
                    tpacket_auxdata beside;
                    std::memcpy(&beside, CMSG_DATA(part_of), sizeof(beside));
                    vlan = beside.tp_vlan_tci;
                }
            return std::pair(vlan, length);
        }
        return std::nullopt;
    }

  private:
    int socket_;
};

}  // namespace weir::test
