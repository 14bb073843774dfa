// A TAP interface whose other end is the test: it answers ARP and ND for the neighbours that it is told of.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "tests/support/packet_builder.h"

namespace weir::test {

class TapNeighborhood {
  public:
    explicit TapNeighborhood(const std::string& name)
        : tap_(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) {
        ifreq request{};
        name.copy(request.ifr_name, IFNAMSIZ - 1);
        request.ifr_flags = IFF_TAP | IFF_NO_PI;
        EXPECT_EQ(ioctl(tap_, TUNSETIFF, &request), 0) << name;
        answering_ = std::thread([this] { answer_all(); });
    }
    TapNeighborhood(const TapNeighborhood&) = delete;
    TapNeighborhood& operator=(const TapNeighborhood&) = delete;
    // The interface goes with it.
    ~TapNeighborhood() {
        stop_ = true;
        answering_.join();
        close(tap_);
    }

    void add(const IpAddress& address, const MacAddress& mac) {
        const std::lock_guard lock(mutex_);
        neighbors_[address] = mac;
    }
    void remove(const IpAddress& address) {
        const std::lock_guard lock(mutex_);
        neighbors_.erase(address);
    }
    // The neighbour's machine is replaced, and says so: gratuitous ARP, or an unsolicited NA.
    void replace(const IpAddress& address, const MacAddress& mac) {
        add(address, mac);
        send(address.is_v4() ? arp(1, address, mac, address, kBroadcast)
                             : advertisement(address, mac, all_nodes(), kAllNodesMac, 0x20));
    }
    void set_carrier(bool up) {
        const int carrier = up ? 1 : 0;
        EXPECT_EQ(ioctl(tap_, TUNSETCARRIER, &carrier), 0);
    }
    [[nodiscard]] unsigned answered() const { return answered_; }

  private:
    static constexpr MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    static constexpr MacAddress kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};

    static IpAddress all_nodes() {
        Ipv6Address address{};
        address.bytes[0] = 0xff;
        address.bytes[1] = 2;
        address.bytes[15] = 1;
        return IpAddress(address);
    }
    static Bytes arp(std::uint16_t operation, const IpAddress& from, const MacAddress& mac,
                     const IpAddress& to, const MacAddress& to_mac) {
        Bytes frame;
        append(frame, to_mac.bytes);
        append(frame, mac.bytes);
        for (const std::size_t word : {0x0806u, 1u, 0x0800u, 0x0604u}) append_word(frame, word);
        append_word(frame, operation);
        append(frame, mac.bytes);
        append(frame, wire_bytes(from));
        append(frame, to_mac.bytes);
        append(frame, wire_bytes(to));
        return frame;
    }
    // RFC 4861 4.4. `flags`: 0x40 solicited, 0x20 override.
    static Bytes advertisement(const IpAddress& from, const MacAddress& mac, const IpAddress& to,
                               const MacAddress& to_mac, std::uint8_t flags) {
        Bytes message{136, 0, 0, 0, flags, 0, 0, 0};
        append(message, wire_bytes(from));
        message.insert(message.end(), {2, 1});
        append(message, mac.bytes);
        return ip_frame({.to = to_mac, .from = mac, .ttl = 255}, from, to, 58, message, 2);
    }
    void send(const Bytes& frame) {
        EXPECT_EQ(write(tap_, frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
    }

    void answer_all() {
        Bytes frame(2'048);
        while (!stop_) {
            pollfd wait{tap_, POLLIN, 0};
            poll(&wait, 1, 20);
            for (ssize_t got; (got = read(tap_, frame.data(), frame.size())) > 0;)
                answer(std::span(frame).first(static_cast<std::size_t>(got)));
        }
    }
    void answer(std::span<const std::uint8_t> frame) {
        if (frame.size() >= 42 && word_at(frame, 12) == 0x0806 && word_at(frame, 20) == 1)
            answer_for(v4_at(frame, 38), v4_at(frame, 28), frame);
        else if (frame.size() >= 78 && word_at(frame, 12) == 0x86dd && frame[20] == 58 && frame[54] == 135)
            answer_for(v6_at(frame, 62), v6_at(frame, 22), frame);
    }
    void answer_for(const IpAddress& wanted, const IpAddress& asker, std::span<const std::uint8_t> frame) {
        MacAddress mac, to;
        std::memcpy(&to, frame.data() + 6, sizeof(to));
        {
            const std::lock_guard lock(mutex_);
            const auto found = neighbors_.find(wanted);
            if (found == neighbors_.end()) return;
            mac = found->second;
        }
        ++answered_;
        send(wanted.is_v4() ? arp(2, wanted, mac, asker, to) : advertisement(wanted, mac, asker, to, 0x60));
    }
    static IpAddress v4_at(std::span<const std::uint8_t> frame, std::size_t at) {
        Ipv4Address address;
        std::memcpy(&address, frame.data() + at, sizeof(address));
        return IpAddress(address);
    }
    static IpAddress v6_at(std::span<const std::uint8_t> frame, std::size_t at) {
        Ipv6Address address;
        std::memcpy(&address, frame.data() + at, sizeof(address));
        return IpAddress(address);
    }

    int tap_;
    std::mutex mutex_;
    std::map<IpAddress, MacAddress> neighbors_;
    std::atomic<bool> stop_{false};
    std::atomic<unsigned> answered_{0};
    std::thread answering_;
};

}  // namespace weir::test
