// Frames for tests, byte by byte, with right checksums. Shares no code with the packet path, so that a
// mistake there cannot hide here.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/net/address.h"

namespace weir::test {

using Bytes = std::vector<std::uint8_t>;

// RFC 1071, the plain way: big-endian words, the last byte padded with zero.
inline std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) sum += std::uint64_t{bytes[i]} << (i % 2 == 0 ? 8 : 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

inline std::uint16_t word_at(std::span<const std::uint8_t> bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}
inline void put_word(Bytes& bytes, std::size_t at, std::uint16_t word) {
    bytes[at] = static_cast<std::uint8_t>(word >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(word);
}
inline void append(Bytes& bytes, std::span<const std::uint8_t> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
}
inline void append_word(Bytes& bytes, std::size_t word) {
    bytes.push_back(static_cast<std::uint8_t>(word >> 8));
    bytes.push_back(static_cast<std::uint8_t>(word));
}
inline std::span<const std::uint8_t> wire_bytes(const IpAddress& address) {
    return std::span(address.bytes()).first(address.is_v4() ? 4 : 16);
}

struct Tuple {
    IpAddress source, destination;
    std::uint16_t source_port = 0, destination_port = 80;
};

// What the frames have in common. The MACs are those of tests/ctrl/config_builder.h: to weir's port "edge",
// from the client's router.
struct Link {
    MacAddress to{{2, 0, 0, 0, 0, 1}};
    MacAddress from{{2, 0, 0, 0, 0, 0xfe}};
    std::uint8_t ttl = 61, tos = 0;
};

// Ethernet and IP around an L4 message whose checksum stands at `checksum_at` (absent: it has none) and is
// zero so far. The IPv4 id is 0x1234, DF is not set.
inline Bytes ip_frame(const Link& link, const IpAddress& source, const IpAddress& destination,
                      std::uint8_t protocol, Bytes l4, std::optional<std::size_t> checksum_at,
                      std::uint16_t fragment = 0) {
    const bool v4 = source.is_v4();
    if (checksum_at) {
        Bytes covered;
        if (protocol != 1) {  // ICMPv4 has no pseudo-header
            append(covered, wire_bytes(source));
            append(covered, wire_bytes(destination));
            append_word(covered, protocol);
            append_word(covered, l4.size());
        }
        append(covered, l4);
        std::uint16_t checksum = internet_checksum(covered);
        if (protocol == 17 && checksum == 0) checksum = 0xffff;
        put_word(l4, *checksum_at, checksum);
    }
    Bytes frame;
    append(frame, link.to.bytes);
    append(frame, link.from.bytes);
    append_word(frame, v4 ? 0x0800 : 0x86dd);
    const std::size_t ip = frame.size();
    if (v4) {
        append(frame, Bytes{0x45, link.tos});
        append_word(frame, 20 + l4.size());
        append_word(frame, 0x1234);
        append_word(frame, fragment);
        append(frame, Bytes{link.ttl, protocol, 0, 0});
    } else {
        append(frame, Bytes{static_cast<std::uint8_t>(0x60 | link.tos >> 4),
                            static_cast<std::uint8_t>(link.tos << 4), 0, 0});
        append_word(frame, l4.size());
        append(frame, Bytes{protocol, link.ttl});
    }
    append(frame, wire_bytes(source));
    append(frame, wire_bytes(destination));
    if (v4) put_word(frame, ip + 10, internet_checksum(std::span(frame).subspan(ip, 20)));
    append(frame, l4);
    return frame;
}

// Payload that shows where it was shifted or cut.
inline Bytes payload(std::size_t length) {
    Bytes bytes(length);
    for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::uint8_t>(0x40 + i * 7 + i / 256);
    return bytes;
}

inline constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10;

inline Bytes tcp_frame(const Tuple& tuple, std::uint8_t flags, std::size_t length = 0,
                       const Link& link = {}) {
    Bytes l4;
    append_word(l4, tuple.source_port);
    append_word(l4, tuple.destination_port);
    append(l4, Bytes{0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0});
    append(l4, payload(length));
    return ip_frame(link, tuple.source, tuple.destination, 6, std::move(l4), 16);
}

inline Bytes udp_frame(const Tuple& tuple, std::size_t length = 0, bool with_checksum = true,
                       const Link& link = {}) {
    Bytes l4;
    append_word(l4, tuple.source_port);
    append_word(l4, tuple.destination_port);
    append_word(l4, 8 + length);
    append_word(l4, 0);
    append(l4, payload(length));
    return ip_frame(link, tuple.source, tuple.destination, 17, std::move(l4),
                    with_checksum ? std::optional<std::size_t>(6) : std::nullopt);
}

inline Bytes echo_request(const IpAddress& source, const IpAddress& destination, std::size_t length,
                          const Link& link = {}) {
    const bool v4 = source.is_v4();
    Bytes l4{static_cast<std::uint8_t>(v4 ? 8 : 128), 0, 0, 0, 0x12, 0x34, 0, 1};
    append(l4, payload(length));
    return ip_frame(link, source, destination, v4 ? 1 : 58, std::move(l4), 2);
}

// RFC 4861: to the solicited-node group of `target`, with the asker's link-layer address.
inline Bytes neighbor_solicitation(const IpAddress& asker, const IpAddress& target) {
    const auto& bytes = target.bytes();
    const IpAddress group(
        Ipv6Address{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, bytes[13], bytes[14], bytes[15]}});
    const Link link{.to = {{0x33, 0x33, 0xff, bytes[13], bytes[14], bytes[15]}}, .ttl = 255};
    Bytes l4{135, 0, 0, 0, 0, 0, 0, 0};
    append(l4, bytes);
    append(l4, Bytes{1, 1});
    append(l4, link.from.bytes);
    return ip_frame(link, asker, group, 58, std::move(l4), 2);
}

// RFC 826, padded to the shortest Ethernet frame.
inline Bytes arp_request(const IpAddress& asker, const IpAddress& target) {
    const Link link{.to = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}};
    Bytes frame;
    append(frame, link.to.bytes);
    append(frame, link.from.bytes);
    append(frame, Bytes{8, 6, 0, 1, 8, 0, 6, 4, 0, 1});
    append(frame, link.from.bytes);
    append(frame, wire_bytes(asker));
    append(frame, Bytes{0, 0, 0, 0, 0, 0});
    append(frame, wire_bytes(target));
    frame.resize(60, 0xa5);
    return frame;
}

}  // namespace weir::test
