// The software twin of a NIC's RSS, against Microsoft's published vectors ("Verifying the RSS hash
// calculation"). The frames lie in mbufs over plain memory: no EAL.
#include "drivers/rss.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

namespace weir::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct VectorV4 {
    WireIpv4 source, destination;
    std::uint16_t source_port, destination_port;
    std::uint32_t hash;
};
constexpr VectorV4 kV4[] = {
    {{66, 9, 149, 187}, {161, 142, 100, 80}, 2794, 1766, 0x51ccc178},
    {{199, 92, 111, 2}, {65, 69, 140, 83}, 14230, 4739, 0xc626b0ea},
    {{24, 19, 198, 95}, {12, 22, 207, 184}, 12898, 38024, 0x5c2b394a},
    {{38, 27, 205, 30}, {209, 142, 163, 6}, 48228, 2217, 0xafc7327f},
    {{153, 39, 163, 191}, {202, 188, 127, 2}, 44251, 1303, 0x10e828a2},
};
struct VectorV6 {
    WireIpv6 source, destination;
    std::uint16_t source_port, destination_port;
    std::uint32_t hash;
};
constexpr VectorV6 kV6[] = {
    {{0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7},
     {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1},
     2794,
     1766,
     0x40207d3d},
    {{0x3f, 0xfe, 0x05, 0x01, 0, 8, 0, 0, 0x02, 0x60, 0x97, 0xff, 0xfe, 0x40, 0xef, 0xab},
     {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
     14230,
     4739,
     0xdde51bbf},
    {{0x3f, 0xfe, 0x19, 0x00, 0x45, 0x45, 0, 3, 0x02, 0, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf},
     {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x02, 0, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf},
     44251,
     38024,
     0x02d1feef},
};

void put16(Bytes& bytes, unsigned value) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    bytes.push_back(static_cast<std::uint8_t>(value));
}

Bytes ethernet(unsigned type, int vlans = 0) {
    Bytes bytes(12, 0x02);
    for (int i = 0; i < vlans; ++i) {
        put16(bytes, 0x8100);
        put16(bytes, 100);
    }
    put16(bytes, type);
    return bytes;
}

Bytes v4_frame(const VectorV4& flow, std::uint8_t protocol = 6, unsigned fragment = 0x4000,
               unsigned options = 0, int vlans = 0) {
    Bytes bytes = ethernet(0x0800, vlans);
    const std::size_t ip = bytes.size();
    bytes.resize(ip + 20 + options * 4 + 20);
    bytes[ip] = static_cast<std::uint8_t>(0x45 + options);
    bytes[ip + 6] = static_cast<std::uint8_t>(fragment >> 8);
    bytes[ip + 7] = static_cast<std::uint8_t>(fragment);
    bytes[ip + 9] = protocol;
    std::copy(flow.source.begin(), flow.source.end(), bytes.begin() + static_cast<long>(ip) + 12);
    std::copy(flow.destination.begin(), flow.destination.end(), bytes.begin() + static_cast<long>(ip) + 16);
    Bytes ports;
    put16(ports, flow.source_port);
    put16(ports, flow.destination_port);
    std::copy(ports.begin(), ports.end(), bytes.begin() + static_cast<long>(ip + 20 + options * 4));
    return bytes;
}

Bytes v6_frame(const VectorV6& flow, std::uint8_t next_header = 17) {
    Bytes bytes = ethernet(0x86dd);
    const Bytes start = {0x60, 0, 0, 0, 0, 8, next_header, 64};
    bytes.insert(bytes.end(), start.begin(), start.end());
    bytes.insert(bytes.end(), flow.source.begin(), flow.source.end());
    bytes.insert(bytes.end(), flow.destination.begin(), flow.destination.end());
    put16(bytes, flow.source_port);
    put16(bytes, flow.destination_port);
    bytes.resize(bytes.size() + 4);
    return bytes;
}

std::uint16_t queue_of(const Bytes& bytes, const RetaTable& table) {
    Bytes memory(bytes);
    rte_mbuf frame{};
    frame.buf_addr = memory.data();
    frame.data_len = static_cast<std::uint16_t>(memory.size());
    frame.pkt_len = frame.data_len;
    frame.nb_segs = 1;
    return rss_queue_of_frame(frame, kRssKey, table);
}

// Every entry of the table another number: a queue tells the index.
RetaTable numbered_table() {
    std::vector<std::uint16_t> entries(128);
    for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = static_cast<std::uint16_t>(1'000 + i);
    return RetaTable(std::move(entries));
}

TEST(RssTest, the_hash_is_microsofts) {
    for (const auto& flow : kV4)
        EXPECT_EQ(rss_hash(kRssKey, flow.source, flow.destination, flow.source_port, flow.destination_port),
                  flow.hash);
    for (const auto& flow : kV6)
        EXPECT_EQ(rss_hash(kRssKey, flow.source, flow.destination, flow.source_port, flow.destination_port),
                  flow.hash);
}

TEST(RssTest, a_tcp_or_udp_frame_goes_to_the_entry_of_its_hash) {
    const RetaTable table = numbered_table();
    for (const auto& flow : kV4)
        for (const std::uint8_t protocol : {std::uint8_t{6}, std::uint8_t{17}}) {
            const auto expected = 1'000 + (flow.hash & 127);
            EXPECT_EQ(queue_of(v4_frame(flow, protocol), table), expected);
            EXPECT_EQ(queue_of(v4_frame(flow, protocol, 0, 10), table), expected) << "with options";
            EXPECT_EQ(queue_of(v4_frame(flow, protocol, 0, 0, 1), table), expected) << "with a VLAN tag";
            EXPECT_EQ(queue_of(v4_frame(flow, protocol, 0, 0, 2), table), expected) << "with two VLAN tags";
        }
    for (const auto& flow : kV6) EXPECT_EQ(queue_of(v6_frame(flow), table), 1'000 + (flow.hash & 127));
}

TEST(RssTest, fragments_and_other_protocols_go_to_entry_zero) {
    const RetaTable table = numbered_table();
    EXPECT_EQ(queue_of(v4_frame(kV4[0], 6, 0x2000), table), 1'000) << "first fragment";
    EXPECT_EQ(queue_of(v4_frame(kV4[0], 6, 0x0010), table), 1'000) << "later fragment";
    for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{1, 4, 41, 47, 50, 132})
        EXPECT_EQ(queue_of(v4_frame(kV4[0], protocol), table), 1'000) << +protocol;
    for (const std::uint8_t next_header : std::initializer_list<std::uint8_t>{0, 43, 44, 58, 60})
        EXPECT_EQ(queue_of(v6_frame(kV6[0], next_header), table), 1'000) << +next_header;
    EXPECT_EQ(queue_of(ethernet(0x0806), table), 1'000) << "ARP";
}

TEST(RssTest, a_frame_cut_anywhere_goes_to_entry_zero_and_nothing_behind_it_is_read) {
    const RetaTable table = numbered_table();
    const Bytes v4 = v4_frame(kV4[0]), v6 = v6_frame(kV6[0]);
    for (std::size_t length = 0; length < 14 + 20 + 4; ++length)
        EXPECT_EQ(queue_of(Bytes(v4.begin(), v4.begin() + static_cast<long>(length)), table), 1'000)
            << length;
    for (std::size_t length = 0; length < 14 + 40 + 4; ++length)
        EXPECT_EQ(queue_of(Bytes(v6.begin(), v6.begin() + static_cast<long>(length)), table), 1'000)
            << length;
    Bytes bad_length = v4;
    bad_length[14] = 0x44;  // a header of 16 bytes
    EXPECT_EQ(queue_of(bad_length, table), 1'000);
}

TEST(RssTest, a_table_deals_its_entries_out_in_turn) {
    const RetaTable three(3);
    std::array<int, 3> entries{};
    for (std::uint32_t hash = 0; hash < 128; ++hash) {
        EXPECT_EQ(three.queue(hash), hash % 3);
        EXPECT_EQ(three.queue(hash + 128), hash % 3);
        ++entries[three.queue(hash)];
    }
    EXPECT_EQ(entries, (std::array<int, 3>{43, 43, 42}));
    EXPECT_EQ(RetaTable(1).queue(0xffffffff), 0);
    EXPECT_EQ(RetaTable(8, 512).queue(511), 7);
}

// What DESIGN.md section 5 rests on: the SNAT port is chosen so that the reply lands on its owner.
TEST(RssTest, a_port_adds_what_its_bits_add) {
    const auto v4 = rss_port_bits(kRssKey, kRssPortV4), v6 = rss_port_bits(kRssKey, kRssPortV6);
    for (const std::uint32_t port : {1u, 80u, 1'024u, 32'768u, 54'321u, 65'535u}) {
        std::uint32_t sum_v4 = 0, sum_v6 = 0;
        for (unsigned bit = 0; bit < 16; ++bit) {
            if ((port >> bit & 1) == 0) continue;
            sum_v4 ^= v4[bit];
            sum_v6 ^= v6[bit];
        }
        const auto number = static_cast<std::uint16_t>(port);
        EXPECT_EQ(sum_v4, rss_hash(kRssKey, WireIpv4{}, WireIpv4{}, 0, number));
        EXPECT_EQ(sum_v6, rss_hash(kRssKey, WireIpv6{}, WireIpv6{}, 0, number));
    }
}

TEST(RssTest, the_hash_is_linear_in_the_destination_port) {
    const auto& flow = kV4[1];
    const auto base = rss_hash(kRssKey, flow.source, flow.destination, flow.source_port, 0);
    const auto zero = rss_hash(kRssKey, WireIpv4{}, WireIpv4{}, 0, 0);
    EXPECT_EQ(zero, 0u);
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{1, 80, 1024, 32'768, 54'321, 65'535})
        EXPECT_EQ(rss_hash(kRssKey, flow.source, flow.destination, flow.source_port, port),
                  base ^ rss_hash(kRssKey, WireIpv4{}, WireIpv4{}, 0, port));
}

}  // namespace
}  // namespace weir::test
