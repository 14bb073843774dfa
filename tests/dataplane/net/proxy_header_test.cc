// PROXY headers against bytes written by hand from proxy-protocol.txt, and the walk over TCP options.
#include "dataplane/net/proxy_header.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dataplane/net/tcp_options.h"

namespace weir {
namespace {

ClientEnds ends_v4(IpProtocol protocol, std::uint16_t client_port = 40'000, std::uint16_t vip_port = 80) {
    return {{198, 51, 100, 7}, {203, 0, 113, 10}, Be16(client_port), Be16(vip_port), Family::v4, protocol};
}
ClientEnds ends_v6(IpProtocol protocol) {
    return {{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd},
            {0x20, 0x01, 0x0d, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10},
            Be16(65'535),
            Be16(443),
            Family::v6,
            protocol};
}

std::string text_of(const ProxyHeader& header) {
    return {reinterpret_cast<const char*>(header.data()), header.size()};
}
std::vector<std::uint8_t> bytes_of(const ProxyHeader& header) {
    return {header.data(), header.data() + header.size()};
}

TEST(ProxyHeader, V1) {
    using enum ClientIdentity;
    EXPECT_EQ(text_of(ProxyHeader(proxy_v1, ends_v4(IpProtocol::tcp))),
              "PROXY TCP4 198.51.100.7 203.0.113.10 40000 80\r\n");
    EXPECT_EQ(text_of(ProxyHeader(proxy_v1, ends_v4(IpProtocol::tcp, 1, 65'535))),
              "PROXY TCP4 198.51.100.7 203.0.113.10 1 65535\r\n");
    EXPECT_EQ(text_of(ProxyHeader(proxy_v1, ends_v6(IpProtocol::tcp))),
              "PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:abcd 2001:0db8:0100:0000:0000:0000:0000:0010 "
              "65535 443\r\n");
    ClientEnds longest = ends_v6(IpProtocol::tcp);
    longest.vip_port = Be16(10'000);
    EXPECT_EQ(ProxyHeader(proxy_v1, longest).size(), ProxyHeader::kLongest);
}

TEST(ProxyHeader, V2) {
    using enum ClientIdentity;
    const std::vector<std::uint8_t> signature{0x0d, 0x0a, 0x0d, 0x0a, 0,    0x0d, 0x0a,
                                              0x51, 0x55, 0x49, 0x54, 0x0a, 0x21};
    const auto expected = [&](std::uint8_t transport, std::uint8_t length,
                              const std::vector<std::uint8_t>& rest) {
        auto bytes = signature;
        bytes.insert(bytes.end(), {transport, 0, length});
        bytes.insert(bytes.end(), rest.begin(), rest.end());
        return bytes;
    };
    const std::vector<std::uint8_t> v4{198, 51, 100, 7, 203, 0, 113, 10, 0x9c, 0x40, 0, 80};
    const std::vector<std::uint8_t> v6{0x20, 1, 0x0d, 0xb8, 0,    0, 0,    0,    0,    0,    0, 0,
                                       0,    0, 0xab, 0xcd, 0x20, 1, 0x0d, 0xb8, 1,    0,    0, 0,
                                       0,    0, 0,    0,    0,    0, 0,    0x10, 0xff, 0xff, 1, 0xbb};
    EXPECT_EQ(bytes_of(ProxyHeader(proxy_v2, ends_v4(IpProtocol::tcp))), expected(0x11, 12, v4));
    EXPECT_EQ(bytes_of(ProxyHeader(proxy_v2, ends_v4(IpProtocol::udp))), expected(0x12, 12, v4));
    EXPECT_EQ(bytes_of(ProxyHeader(proxy_v2, ends_v6(IpProtocol::tcp))), expected(0x21, 36, v6));
    EXPECT_EQ(bytes_of(ProxyHeader(proxy_v2, ends_v6(IpProtocol::udp))), expected(0x22, 36, v6));
}

// Kinds that were visited.
std::vector<int> kinds_in(std::vector<std::uint8_t> options) {
    std::vector<int> kinds;
    for_each_tcp_option(options, [&](TcpOption kind, std::span<std::uint8_t> option) {
        kinds.push_back(static_cast<int>(kind));
        EXPECT_EQ(option[0], static_cast<std::uint8_t>(kind));
        EXPECT_EQ(option[1], option.size());
    });
    return kinds;
}

TEST(TcpOptions, AreWalkedToTheFirstThatIsNone) {
    using Kinds = std::vector<int>;
    EXPECT_EQ(kinds_in({}), Kinds{});
    EXPECT_EQ(kinds_in({2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 0, 0}), (Kinds{2, 4, 3}));
    EXPECT_EQ(kinds_in({1, 1, 254, 2, 0, 254, 2}), Kinds{254}) << "behind the end there is nothing";
    EXPECT_EQ(kinds_in({254, 0, 254, 2}), Kinds{});
    EXPECT_EQ(kinds_in({254, 1, 254, 2}), Kinds{});
    EXPECT_EQ(kinds_in({3, 5, 0, 0}), Kinds{}) << "beyond the end";
    EXPECT_EQ(kinds_in({3, 4, 0, 0}), Kinds{3});
    EXPECT_EQ(kinds_in({1, 254}), Kinds{}) << "no length";
}

TEST(TcpOptions, PlainAreNoneOrATimestampAlone) {
    std::vector<std::uint8_t> bytes(60, 0);
    const auto is_plain = [&](std::uint8_t words, std::uint32_t contiguous = 60) {
        bytes[12] = static_cast<std::uint8_t>(words << 4);
        return has_plain_options(*reinterpret_cast<const TcpHeader*>(bytes.data()), contiguous);
    };
    EXPECT_TRUE(is_plain(5));
    EXPECT_FALSE(is_plain(8));
    bytes[20] = bytes[21] = 1, bytes[22] = 8, bytes[23] = 10;
    EXPECT_TRUE(is_plain(8));
    EXPECT_FALSE(is_plain(8, 31)) << "not all of it lies here";
    EXPECT_FALSE(is_plain(9));
    bytes[23] = 9;
    EXPECT_FALSE(is_plain(8));
}

}  // namespace
}  // namespace weir
