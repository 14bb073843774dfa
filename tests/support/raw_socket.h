// The kernel's end of a wire, as a raw socket. Needs root.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace weir::test {

// Of the local experimental EtherType: what the kernel never sends of its own accord.
inline constexpr std::uint16_t kTestEtherType = 0x88b5;

class RawSocket {
  public:
    // Receives frames of one EtherType.
    explicit RawSocket(const std::string& interface, std::uint16_t ether_type = kTestEtherType)
        : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))), ether_type_(ether_type) {
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
        EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    }
    RawSocket(const RawSocket&) = delete;
    RawSocket& operator=(const RawSocket&) = delete;
    ~RawSocket() { close(socket_); }

    void send(const std::vector<std::uint8_t>& frame) const {
        EXPECT_EQ(::send(socket_, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
    }
    // The wire may have no other end.
    void offer(const std::vector<std::uint8_t>& frame) const {
        (void)::send(socket_, frame.data(), frame.size(), 0);
    }
    // Takes what has come in from the wire; how many frames of it are of this EtherType, or of any.
    [[nodiscard]] std::size_t take_all(std::uint16_t type) const {
        return take_those([type](std::uint16_t its_type) { return its_type == type; });
    }
    std::size_t take_any() const {
        return take_those([](std::uint16_t) { return true; });
    }
    // The next frame of that type that came in from the wire; empty after a second.
    std::vector<std::uint8_t> receive() const {
        for (pollfd wait{socket_, POLLIN, 0}; poll(&wait, 1, 1'000) == 1;) {
            std::vector<std::uint8_t> frame(70'000);
            sockaddr_ll from{};
            socklen_t length = sizeof(from);
            const auto got =
                recvfrom(socket_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
            if (got < 14 || from.sll_pkttype == PACKET_OUTGOING ||
                (frame[12] << 8 | frame[13]) != ether_type_)
                continue;
            frame.resize(static_cast<std::size_t>(got));
            return frame;
        }
        return {};
    }

    // The next frame that had a VLAN tag, as it was on the wire: the kernel hands the outer one over beside
    // it.
    std::vector<std::uint8_t> receive_tagged() const {
        const int on = 1;
        EXPECT_EQ(setsockopt(socket_, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)), 0);
        for (pollfd wait{socket_, POLLIN, 0}; poll(&wait, 1, 1'000) == 1;) {
            std::vector<std::uint8_t> frame(70'000);
            iovec bytes{frame.data(), frame.size()};
            alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(tpacket_auxdata))> beside{};
            msghdr message{};
            message.msg_iov = &bytes;
            message.msg_iovlen = 1;
            message.msg_control = beside.data();
            message.msg_controllen = beside.size();
            const auto got = recvmsg(socket_, &message, 0);
            const cmsghdr* header = CMSG_FIRSTHDR(&message);
            if (got < 14 || header == nullptr || header->cmsg_type != PACKET_AUXDATA) continue;
            tpacket_auxdata tag;
            std::memcpy(&tag, CMSG_DATA(header), sizeof(tag));
            if ((tag.tp_status & TP_STATUS_VLAN_VALID) == 0) continue;
            frame.resize(static_cast<std::size_t>(got));
            const std::uint16_t words[] = {htons(tag.tp_vlan_tpid), htons(tag.tp_vlan_tci)};
            const auto* wire = reinterpret_cast<const std::uint8_t*>(words);
            frame.insert(frame.begin() + 12, wire, wire + sizeof(words));
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
    std::uint16_t ether_type_;
};

}  // namespace weir::test
