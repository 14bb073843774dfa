// Frames of every kind that reaches a balancer, by name: what is forwarded, answered, and dropped.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/support/small_world.h"

namespace weir::test {

struct NamedFrame {
    std::string name;
    Bytes bytes;
};

using Words = std::vector<std::uint16_t>;

inline constexpr std::size_t kEthernet = 14;

inline void correct_ipv4_checksum(Bytes& frame) {
    if (frame.size() < kEthernet + 20) return;
    const std::size_t length = std::min<std::size_t>((frame[kEthernet] & 15u) * 4u, frame.size() - kEthernet);
    if (length < 20) return;
    put_word(frame, kEthernet + 10, 0);
    put_word(frame, kEthernet + 10, internet_checksum(std::span(frame).subspan(kEthernet, length)));
}

// An IPv4 frame with `words` words of no-operation options.
inline Bytes with_ipv4_options(Bytes frame, std::size_t words) {
    frame.insert(frame.begin() + kEthernet + 20, 4 * words, 1);
    frame[kEthernet] = static_cast<std::uint8_t>(0x45 + words);
    put_word(frame, kEthernet + 2, static_cast<std::uint16_t>(word_at(frame, kEthernet + 2) + 4 * words));
    correct_ipv4_checksum(frame);
    return frame;
}
// An IPv6 frame with an extension header (its length a multiple of 8) before what it carried.
inline Bytes with_ipv6_extension(Bytes frame, std::uint8_t type, Bytes extension) {
    extension[0] = frame[kEthernet + 6];
    frame[kEthernet + 6] = type;
    put_word(frame, kEthernet + 4,
             static_cast<std::uint16_t>(word_at(frame, kEthernet + 4) + extension.size()));
    frame.insert(frame.begin() + kEthernet + 40, extension.begin(), extension.end());
    return frame;
}
inline Bytes with_vlan_tag(Bytes frame, std::uint16_t type) {
    const std::uint8_t tag[] = {static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type), 0, 7};
    frame.insert(frame.begin() + 12, std::begin(tag), std::end(tag));
    return frame;
}
inline Bytes with_byte(Bytes frame, std::size_t at, std::uint8_t value, bool correct_checksum = true) {
    frame[at] = value;
    if (correct_checksum && word_at(frame, 12) == 0x0800) correct_ipv4_checksum(frame);
    return frame;
}
inline Bytes with_size(Bytes frame, std::size_t size) {
    frame.resize(size, 0x5a);
    return frame;
}

// TCP and UDP to one L4 port of a VIP, with every payload that an edge may hide behind.
inline void add_flows(std::vector<NamedFrame>& all, const std::string& name, const IpAddress& vip,
                      std::uint16_t l4_port) {
    const Tuple tuple = client_flow(4242, vip, l4_port);
    const std::string suffix =
        " to " + name + (vip.is_v4() ? " v4 port " : " v6 port ") + std::to_string(l4_port);
    for (const std::uint8_t flags : {kSyn, kAck, kFin, kRst})
        all.push_back({"tcp flags " + std::to_string(flags) + suffix, tcp_frame(tuple, flags)});
    for (const std::size_t length : {1u, 6u, 12u, 13u, 40u})
        all.push_back({"tcp " + std::to_string(length) + suffix, tcp_frame(tuple, kAck, length)});
    for (const std::size_t length : {0u, 1u, 11u, 12u, 13u, 40u})
        all.push_back({"udp " + std::to_string(length) + suffix, udp_frame(tuple, length, length % 2 == 0)});
}

// Headers around TCP and UDP that are not the plain ones.
inline void add_unusual_headers(std::vector<NamedFrame>& all) {
    const Tuple v4 = client_flow(7, mode_vip(1, false)), v6 = client_flow(7, mode_vip(1, true));
    for (std::size_t words = 1; words <= 10; ++words)
        for (const bool tcp : {true, false})
            all.push_back({std::to_string(words) + " words of options",
                           with_ipv4_options(tcp ? tcp_frame(v4, kAck, 9) : udp_frame(v4, 30), words)});
    for (const std::uint16_t fragment : Words{0x4000, 0x8000, 0x2000, 0x2001, 0x00b9, 0x1fff, 0x6000})
        all.push_back({"fragment field " + std::to_string(fragment),
                       ip_frame({}, v4.source, v4.destination, 17, payload(60), 6, fragment)});
    for (const std::uint8_t type : Bytes{0, 43, 44, 60, 51, 135, 59})
        for (const bool tcp : {true, false}) {
            const Bytes frame = tcp ? tcp_frame(v6, kAck, 9) : udp_frame(v6, 30);
            const Bytes once = with_ipv6_extension(frame, type, Bytes(8));
            const std::string name = "extension " + std::to_string(type);
            all.push_back({name, once});
            all.push_back({name + " twice",
                           with_ipv6_extension(once, 60, {0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})});
        }
    all.push_back({"v6 fragment", with_ipv6_extension(udp_frame(v6, 30), 44, {0, 0, 0, 1, 0, 0, 0, 9})});
    for (const std::uint8_t protocol : Bytes{0, 1, 4, 41, 47, 50, 58, 132, 255})
        for (const Tuple& tuple : {v4, v6})
            all.push_back({"protocol " + std::to_string(protocol),
                           ip_frame({}, tuple.source, tuple.destination, protocol, payload(60), {})});
    for (const Tuple& tuple : {v4, v6})
        for (unsigned offset = 0; offset < 16; ++offset)
            all.push_back({"tcp data offset " + std::to_string(offset),
                           with_byte(tcp_frame(tuple, kAck, 30), kEthernet + (tuple.source.is_v4() ? 32 : 52),
                                     static_cast<std::uint8_t>(offset << 4))});
}

// What a header says that may not be, one thing at a time.
inline void add_bad_headers(std::vector<NamedFrame>& all) {
    for (const bool is_v6 : {false, true}) {
        const Tuple tuple = client_flow(9, mode_vip(2, is_v6));
        const Bytes frame = tcp_frame(tuple, kAck, 20), datagram = udp_frame(tuple, 20);
        const std::string family = is_v6 ? " v6" : " v4";
        const std::size_t length = kEthernet + (is_v6 ? 4 : 2), ttl = kEthernet + (is_v6 ? 7 : 8),
                          source = kEthernet + (is_v6 ? 8 : 12), l4 = kEthernet + (is_v6 ? 40 : 20);
        for (const std::uint8_t version : Bytes{0x00, 0x40, 0x44, 0x46, 0x4f, 0x55, 0x60, 0x65, 0xff})
            all.push_back({"version" + family, with_byte(frame, kEthernet, version)});
        for (unsigned more = 0; more < 64; ++more) {
            all.push_back({"length" + family, with_byte(frame, length + 1, static_cast<std::uint8_t>(more))});
            all.push_back(
                {"udp length" + family, with_byte(datagram, l4 + 5, static_cast<std::uint8_t>(more))});
        }
        all.push_back({"huge length" + family, with_byte(frame, length, 0xff)});
        all.push_back({"ttl 0" + family, with_byte(frame, ttl, 0)});
        all.push_back({"ttl 1" + family, with_byte(frame, ttl, 1)});
        for (const std::uint8_t first :
             Bytes{0, 1, 10, 126, 127, 128, 223, 224, 239, 240, 255, 0x20, 0xfd, 0xfe})
            all.push_back({"source " + std::to_string(first) + family, with_byte(frame, source, first)});
        Tuple to_itself = tuple;
        to_itself.source = tuple.destination;
        all.push_back({"land" + family, tcp_frame(to_itself, kSyn)});
        if (!is_v6) all.push_back({"checksum", with_byte(frame, kEthernet + 10, 0x12, false)});
    }
}

// Ethernet: other destinations, other types.
inline void add_links(std::vector<NamedFrame>& all) {
    for (const bool is_v6 : {false, true}) {
        const IpAddress vip = mode_vip(3, is_v6);
        const Bytes frame = tcp_frame(client_flow(11, vip), kAck, 20);
        for (std::size_t at = 0; at < 14; ++at)
            for (unsigned bit = 0; bit < 8; ++bit)
                all.push_back(
                    {"Ethernet byte " + std::to_string(at),
                     with_byte(frame, at, static_cast<std::uint8_t>(frame[at] ^ 1u << bit), false)});
        Bytes no_source = frame, broadcast = frame;
        std::fill_n(no_source.begin() + 6, 6, std::uint8_t{0});
        std::fill_n(broadcast.begin(), 6, std::uint8_t{0xff});
        all.push_back({"zero source MAC", no_source});
        all.push_back({"broadcast", broadcast});
        for (const std::uint16_t type : Words{0x8100, 0x88a8})
            all.push_back({"tag", with_vlan_tag(frame, type)});
        all.push_back({"echo", echo_request(client_flow(1, vip).source, vip, 56)});
    }
    all.push_back({"nd", neighbor_solicitation(ip("fd00:1::99"), mode_vip(1, true))});
    all.push_back({"arp", arp_request(ip("10.1.0.1"), mode_vip(1, false))});
}

inline std::vector<NamedFrame> frames_of_every_kind() {
    std::vector<NamedFrame> all;
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true})
            for (const std::uint16_t l4_port : Words{80, 81, 0, 65'535})
                add_flows(all, "a single port", mode_vip(mode, v6), l4_port);
    add_unusual_headers(all);
    add_bad_headers(all);
    add_links(all);
    return all;
}

}  // namespace weir::test
