#include "ctrl/tables/next_hops.h"

#include <gtest/gtest.h>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

Config two_ports() {
    Config config = edge_config();
    PortConfig inner;
    inner.name = "inner";
    inner.addresses = {prefix("10.1.2.2/24"), prefix("192.168.7.1/24")};
    config.ports.push_back(inner);
    const auto route = [&](std::string_view to, std::string_view via, const char* port) {
        RouteConfig entry;
        entry.prefix = prefix(to);
        entry.via = ip(via);
        entry.port = port;
        config.routes.push_back(entry);
    };
    route("172.16.0.0/12", "192.168.7.9", "inner");
    route("172.16.5.0/24", "10.1.0.1", "edge");
    return config;
}

TEST(NextHops, NeighborEntryIsExact) {
    const NextHop hop = NextHops(edge_config(), false).find(ip("10.1.1.11"));
    EXPECT_TRUE(hop.resolved && hop.on_link && hop.reachable && !hop.derived);
    EXPECT_EQ(hop.mac, mac("02:00:00:00:00:11"));
    EXPECT_TRUE(hop.has_source);
    EXPECT_EQ(hop.source, ip("10.1.0.2"));
}

TEST(NextHops, ConnectedWithoutNeighborIsUnresolved) {
    const NextHop hop = NextHops(edge_config(), false).find(ip("10.1.9.9"));
    EXPECT_TRUE(hop.reachable && hop.on_link);
    EXPECT_FALSE(hop.resolved);
    EXPECT_TRUE(hop.mac.is_zero());
    EXPECT_EQ(hop.address, ip("10.1.9.9"));
}

TEST(NextHops, LongestConnectedPrefixWins) {
    const NextHops hops(two_ports(), false);
    EXPECT_EQ(hops.find(ip("10.1.2.77")).port, PortId{1});
    EXPECT_EQ(hops.find(ip("10.1.2.77")).source, ip("10.1.2.2"));
    EXPECT_EQ(hops.find(ip("10.1.3.77")).port, PortId{0});
}

TEST(NextHops, LongestRouteWinsAndLeadsToItsRouter) {
    const NextHops hops(two_ports(), false);
    const NextHop inner = hops.find(ip("172.17.0.1"));
    EXPECT_EQ(inner.port, PortId{1});
    EXPECT_EQ(inner.address, ip("192.168.7.9"));
    EXPECT_EQ(inner.source, ip("192.168.7.1")) << "the port's address in the router's network";
    EXPECT_TRUE(inner.reachable && !inner.on_link && !inner.resolved);
    const NextHop edge = hops.find(ip("172.16.5.1"));
    EXPECT_EQ(edge.mac, mac("02:00:00:00:00:fe"));
    EXPECT_TRUE(edge.resolved && !edge.on_link);
    EXPECT_EQ(hops.find(ip("8.8.8.8")).address, ip("10.1.0.1")) << "the default route";
}

TEST(NextHops, NothingCoversIt) {
    const NextHop hop = NextHops(edge_config(), false).find(ip("2001:db8::1"));
    EXPECT_FALSE(hop.reachable || hop.resolved || hop.has_source);
}

TEST(NextHops, ReplayDerivesWhatItDoesNotKnow) {
    const NextHops hops(two_ports(), true);
    const NextHop on_link = hops.find(ip("10.1.9.8"));
    EXPECT_TRUE(on_link.resolved && on_link.derived);
    EXPECT_EQ(on_link.mac, mac("02:00:0a:01:09:08"));
    const NextHop routed = hops.find(ip("172.17.0.1"));
    EXPECT_EQ(routed.mac, mac("02:00:c0:a8:07:09")) << "of the router, not of the backend";
    EXPECT_EQ(routed.port, PortId{1});
    const NextHop lost = hops.find(ip("2001:db8::1"));
    EXPECT_TRUE(lost.resolved && lost.derived && !lost.reachable);
    EXPECT_EQ(lost.port, PortId{0}) << "the first port";
    EXPECT_EQ(lost.mac, derived_mac(ip("2001:db8::1")));
    EXPECT_FALSE(hops.find(ip("10.1.1.11")).derived) << "known is not derived";
}

TEST(NextHops, DerivedMacs) {
    EXPECT_EQ(derived_mac(ip("192.0.2.254")), mac("02:00:c0:00:02:fe"));
    // FNV-1a of sixteen zero bytes: offset basis x prime^16 mod 2^32.
    std::uint32_t hash = 0x811c9dc5;
    for (int i = 0; i < 16; ++i) hash *= 0x01000193;
    const MacAddress zero = derived_mac(ip("::"));
    EXPECT_EQ(zero.bytes[0], 0x06);
    EXPECT_EQ(zero.bytes[1], 0x00);
    EXPECT_EQ(zero.bytes[2], hash >> 24);
    EXPECT_EQ(zero.bytes[5], hash & 0xff);
    EXPECT_NE(derived_mac(ip("fd00::1")), derived_mac(ip("fd00::2")));
}

}  // namespace
}  // namespace weir
