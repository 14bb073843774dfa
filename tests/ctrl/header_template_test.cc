// Golden bytes of every mode and outer family, and the checksum that outer_sum promises.
#include "ctrl/tables/header_template.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>

#include "dataplane/net/headers.h"
#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

BackendInput input_for(std::string_view address) {
    return {.pool = PoolId{3},
            .state = TrafficState::serving,
            .forwarding = {},
            .address = ip(address),
            .hop = NextHops(edge_config(), false).find(ip(address))};
}

BackendRecord record_for(std::string_view address, ForwardingMode mode) {
    return make_backend_record(input_for(address), mode, edge_facts()[0]);
}

std::string bytes_of(const BackendRecord& record) {
    std::string text;
    for (std::size_t i = 0; i < record.header_length; ++i) text += fmt::format("{:02x}", record.header[i]);
    return text;
}

constexpr const char* kMacsV4 = "020000000011020000000001";
constexpr const char* kMacsV6 = "020000000611020000000001";
// version and IHL 45; TOS, length, id, fragment 0; TTL 64; protocol, checksum 0; 10.1.0.2 -> 10.1.1.11
constexpr const char* kOuterV4 =
    "450000000000000040000000"
    "0a010002"
    "0a01010b";
// version 6; payload length, next header 0; hop limit 64; fd00:1::2 -> fd00:1::11
constexpr const char* kOuterV6 =
    "6000000000000040"
    "fd000001000000000000000000000002"
    "fd000001000000000000000000000011";
// source 0, destination 6080, length and checksum 0; GUE
constexpr const char* kUdpGue =
    "000017c000000000"
    "00000000";

TEST(HeaderTemplate, Dsr) {
    for (const auto& [address, macs] : {std::pair{"10.1.1.11", kMacsV4}, {"fd00:1::11", kMacsV6}}) {
        const BackendRecord record = record_for(address, ForwardingMode::dsr);
        EXPECT_EQ(bytes_of(record), std::string(macs) + "0000");
        EXPECT_EQ(record.header_length, 14);
        EXPECT_EQ(record.outer_sum, 0u);
        EXPECT_TRUE(record.resolved);
    }
}

TEST(HeaderTemplate, IpipOverIpv4) {
    const BackendRecord record = record_for("10.1.1.11", ForwardingMode::ipip);
    EXPECT_EQ(bytes_of(record), std::string(kMacsV4) + "0800" + kOuterV4);
    EXPECT_EQ(record.path, RewritePath::ipip_v4);
    EXPECT_EQ(record.pool, PoolId{3});
    EXPECT_EQ(record.max_packet_length, 1480);
    EXPECT_TRUE(record.resolved);
}

TEST(HeaderTemplate, IpipOverIpv6) {
    const BackendRecord record = record_for("fd00:1::11", ForwardingMode::ipip);
    EXPECT_EQ(bytes_of(record), std::string(kMacsV6) + "86dd" + kOuterV6);
    EXPECT_EQ(record.path, RewritePath::ipip_v6);
    EXPECT_EQ(record.outer_sum, 0u);
}

TEST(HeaderTemplate, Gue) {
    EXPECT_EQ(bytes_of(record_for("10.1.1.11", ForwardingMode::gue)),
              std::string(kMacsV4) + "0800" + kOuterV4 + kUdpGue);
    EXPECT_EQ(bytes_of(record_for("fd00:1::11", ForwardingMode::gue)),
              std::string(kMacsV6) + "86dd" + kOuterV6 + kUdpGue);
}

TEST(HeaderTemplate, BackendsOwnModeWins) {
    BackendInput input = input_for("10.1.1.11");
    input.forwarding = ForwardingMode::dsr;
    const BackendRecord record = make_backend_record(input, ForwardingMode::gue, edge_facts()[0]);
    EXPECT_EQ(record.mode, ForwardingMode::dsr);
    EXPECT_EQ(record.header_length, 14);
}

TEST(HeaderTemplate, VlanTagsNeedHeadroomAndTakeNothingOfTheMtu) {
    for (const VlanTags tags : {VlanTags{100}, VlanTags{300, 10}})
        for (const ForwardingMode mode : {ForwardingMode::dsr, ForwardingMode::ipip, ForwardingMode::gue}) {
            PortFacts port = edge_facts()[0];
            const BackendRecord untagged = make_backend_record(input_for("10.1.1.11"), mode, port);
            port.vlan = tags;
            const BackendRecord tagged = make_backend_record(input_for("10.1.1.11"), mode, port);
            EXPECT_EQ(tagged.header, untagged.header);
            EXPECT_EQ(tagged.header_length, untagged.header_length + tags.bytes());
            EXPECT_EQ(tagged.max_packet_length, untagged.max_packet_length);
        }
}

// What the rewrite stage does with outer_sum, against RFC 1071 over the finished bytes in big-endian.
TEST(HeaderTemplate, OuterSumCompletesToTheHeadersChecksum) {
    const BackendRecord record = record_for("10.1.1.11", ForwardingMode::ipip);
    EXPECT_LE(record.outer_sum, 0xffffu);
    Ipv4Header header;
    std::memcpy(&header, record.header.data() + sizeof(EthernetHeader), sizeof(header));
    header.tos = 0xb8;
    header.total_length = Be16(1234);
    header.identification = Be16(0xbeef);
    header.fragment = Be16(Ipv4Header::kDontFragment);
    header.protocol = 4;
    const auto word = [](std::uint8_t second) {  // {0, second} as it lies in memory
        return Be16(second).raw();
    };
    std::uint32_t sum = record.outer_sum + word(header.tos) + header.total_length.raw() +
                        header.identification.raw() + header.fragment.raw() + word(header.protocol);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    header.checksum = Be16::from_raw(static_cast<std::uint16_t>(~sum));

    std::array<std::uint8_t, sizeof(header)> bytes;
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::uint32_t check = 0;
    for (std::size_t i = 0; i < bytes.size(); i += 2)
        check += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    while (check > 0xffff) check = (check & 0xffff) + (check >> 16);
    EXPECT_EQ(check, 0xffffu);
}

TEST(HeaderTemplate, WhereNoPacketCanBeSent) {
    EXPECT_FALSE(record_for("10.1.9.9", ForwardingMode::ipip).resolved) << "no MAC";
    EXPECT_EQ(record_for("10.1.9.9", ForwardingMode::ipip).max_packet_length, 0u);
    EXPECT_FALSE(record_for("192.0.2.1", ForwardingMode::dsr).resolved) << "dsr through a router";
    EXPECT_TRUE(record_for("192.0.2.1", ForwardingMode::ipip).resolved) << "tunnels may be routed";
    Config no_v6 = edge_config();
    no_v6.ports[0].addresses.pop_back();
    BackendInput input = input_for("fd00:1::11");
    input.hop = NextHops(no_v6, false).find(input.address);
    EXPECT_FALSE(make_backend_record(input, ForwardingMode::gue, edge_facts()[0]).resolved) << "no source";
    EXPECT_TRUE(make_backend_record(input, ForwardingMode::dsr, edge_facts()[0]).resolved)
        << "dsr needs none";
}

TEST(HeaderTemplate, AbsentBackendIsEmpty) {
    const BackendRecord record = make_backend_record({}, ForwardingMode::gue, edge_facts()[0]);
    EXPECT_EQ(record.state, TrafficState::absent);
    EXPECT_EQ(record.header_length, 0);
    EXPECT_FALSE(record.resolved);
    EXPECT_EQ(record.pool, kNoPool);
}

TEST(HeaderTemplate, ADeadBackendIsOfNoPoolAndCanBeProbed) {
    for (const ForwardingMode mode : {ForwardingMode::dsr, ForwardingMode::ipip, ForwardingMode::gue}) {
        const BackendRecord serving = record_for("10.1.1.11", mode);
        BackendInput input = input_for("10.1.1.11");
        input.state = TrafficState::absent;
        const BackendRecord dead = make_backend_record(input, mode, edge_facts()[0]);
        EXPECT_EQ(dead.pool, kNoPool);
        EXPECT_EQ(dead.cut_pool, kNoPool);
        EXPECT_TRUE(dead.resolved);
        EXPECT_EQ(dead.header, serving.header);
        EXPECT_EQ(dead.max_packet_length, serving.max_packet_length);
    }
}

TEST(HeaderTemplate, ACutBackendCanBeToldAndHonoursNoFlow) {
    for (const ForwardingMode mode : {ForwardingMode::dsr, ForwardingMode::ipip, ForwardingMode::gue}) {
        const BackendRecord serving = record_for("10.1.1.11", mode);
        EXPECT_EQ(serving.pool, PoolId{3});
        EXPECT_EQ(serving.cut_pool, kNoPool);
        BackendInput input = input_for("10.1.1.11");
        input.state = TrafficState::cut;
        const BackendRecord cut = make_backend_record(input, mode, edge_facts()[0]);
        EXPECT_EQ(cut.state, TrafficState::cut);
        EXPECT_EQ(cut.pool, kNoPool);
        EXPECT_EQ(cut.cut_pool, PoolId{3});
        EXPECT_EQ(bytes_of(cut), bytes_of(serving));
        EXPECT_EQ(cut.max_packet_length, serving.max_packet_length);
        EXPECT_EQ(cut.outer_sum, serving.outer_sum);
        EXPECT_TRUE(cut.resolved);
    }
}

}  // namespace
}  // namespace weir
