// The kernel's routes and neighbours as a plain value: which way, which path of several, what has changed.
#include "ctrl/kernel/kernel_ways.h"

#include <gtest/gtest.h>

#include <map>

#include "ctrl/kernel/gc_threshold.h"
#include "ctrl/tables/next_hops.h"
#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

constexpr InterfaceIndex kEdge{7}, kInner{8}, kManagement{2};
const MacAddress kMac = mac("02:00:00:00:00:fe"), kOther = mac("02:00:00:00:00:fd");

KernelPath via(std::string_view gateway, InterfaceIndex interface = kEdge, std::uint16_t weight = 1) {
    return {.interface = interface, .gateway = ip(gateway), .weight = weight};
}
KernelPath on_link(InterfaceIndex interface = kEdge) { return {.interface = interface}; }
KernelRoute route(std::string_view network, std::vector<KernelPath> paths, std::uint32_t metric = 0) {
    return {.prefix = prefix(network), .metric = metric, .paths = std::move(paths)};
}
KernelNeighbor resolved(const MacAddress& address) { return {.mac = address, .resolved = true}; }
KernelNeighbor failed() { return {.failed = true}; }

class KernelWaysTest : public testing::Test {
  protected:
    KernelWaysTest() {
        ways.set_names({{kEdge, "weir0"}, {kInner, "weir1"}, {kManagement, "eth0"}});
        ways.set_interface(PortId{0}, kEdge,
                           {{prefix("10.1.0.2/24")}, {prefix("fe80::2/64")}, {prefix("fd00:1::2/64")}});
        ways.set_interface(PortId{1}, kInner, {{prefix("10.2.0.2/24")}});
        (void)ways.take_change();
    }
    void neighbor(std::string_view hop, const KernelNeighbor& state, PortId port = PortId{0}) {
        ways.set_neighbor({port, ip(hop)}, state);
    }
    void want(std::string_view destination) { (void)ways.want_hops_to(ip(destination)); }
    // How many of 1,000 backends go over each gateway.
    std::map<IpAddress, unsigned> shares() {
        std::map<IpAddress, unsigned> count;
        for (unsigned i = 0; i < 1'000; ++i) ++count[ways.find(backend_address(i)).hop];
        return count;
    }
    static IpAddress backend_address(unsigned i) {
        return ip("192.168." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250));
    }

    KernelWays ways{{"weir0", "weir1", ""}};
};

TEST_F(KernelWaysTest, TheLongestPrefixWinsThenTheLowestMetric) {
    ways.set_routes({route("0.0.0.0/0", {via("10.1.0.1")}),
                     route("192.168.0.0/16", {via("10.2.0.9", kInner)}, 20),
                     route("192.168.0.0/16", {via("10.1.0.7")}, 10), route("10.1.0.0/24", {on_link()})});
    EXPECT_EQ(ways.find(ip("8.8.8.8")).hop, ip("10.1.0.1"));
    EXPECT_EQ(ways.find(ip("192.168.3.4")).hop, ip("10.1.0.7"));
    const KernelWay direct = ways.find(ip("10.1.0.77"));
    EXPECT_TRUE(direct.on_link);
    EXPECT_EQ(direct.hop, ip("10.1.0.77"));
    EXPECT_EQ(direct.prefix_length, 24);
    EXPECT_EQ(ways.find(ip("fd00::1")).problem, WayProblem::no_route);
}

TEST_F(KernelWaysTest, ADeadRouteGivesWayToTheNext) {
    KernelRoute preferred = route("192.168.0.0/16", {via("10.1.0.7")}, 10);
    preferred.paths[0].dead = true;
    ways.set_routes({preferred, route("192.168.0.0/16", {via("10.2.0.9", kInner)}, 20)});
    EXPECT_EQ(ways.find(ip("192.168.3.4")).hop, ip("10.2.0.9"));
    EXPECT_EQ(ways.find(ip("192.168.3.4")).port, PortId{1});
}

TEST_F(KernelWaysTest, TheMachinesOwnDefaultRouteDoesNotHideWeirs) {
    ways.set_routes({route("0.0.0.0/0", {via("172.31.0.1", kManagement)}, 100),
                     route("0.0.0.0/0", {via("10.1.0.1")}, 20'000)});
    EXPECT_EQ(ways.find(ip("8.8.8.8")).hop, ip("10.1.0.1"));
}

TEST_F(KernelWaysTest, WhatCannotBeReachedIsToldInAClause) {
    KernelRoute hole{.prefix = prefix("172.16.0.0/12"), .refused = true};
    ways.set_routes({route("0.0.0.0/0", {via("10.9.0.1", kManagement)}), hole});
    EXPECT_EQ(ways.find(ip("8.8.8.8")).problem, WayProblem::foreign_interface);
    EXPECT_NE(ways.why_not(ip("8.8.8.8")).find("leads out of eth0, which is no port's host interface"),
              std::string::npos);
    EXPECT_EQ(ways.find(ip("172.16.1.1")).problem, WayProblem::refused);
    EXPECT_NE(ways.why_not(ip("172.16.1.1")).find("blackhole"), std::string::npos);
    EXPECT_EQ(ways.find(ip("10.1.0.2")).problem, WayProblem::own_address);
    EXPECT_EQ(ways.why_not(ip("10.1.0.2")), "it is this host's own address");
    EXPECT_NE(ways.why_not(ip("fd00::1")).find("no route"), std::string::npos);
}

TEST_F(KernelWaysTest, SourcesAreTheRoutesElseOfTheHopsNetworkElseTheFirst) {
    KernelRoute chosen = route("192.168.0.0/16", {via("10.1.0.1")});
    chosen.source = ip("10.7.7.7");
    ways.set_interface(PortId{0}, kEdge,
                       {{prefix("10.0.0.1/32")},
                        {prefix("10.1.0.2/24")},
                        {prefix("fe80::2/64")},
                        {prefix("fd00:1::3/64"), false},
                        {prefix("fd00:2::2/64")}});
    ways.set_routes({chosen, route("0.0.0.0/0", {via("10.1.0.1")}), route("10.5.0.0/16", {via("10.5.0.1")}),
                     route("::/0", {via("fe80::1")}), route("fe80::/64", {on_link()}),
                     route("fd00:1::/64", {on_link()})});
    EXPECT_EQ(ways.find(ip("192.168.1.1")).source, ip("10.7.7.7"));
    EXPECT_EQ(ways.find(ip("8.8.8.8")).source, ip("10.1.0.2"));
    EXPECT_EQ(ways.find(ip("10.5.1.1")).source, ip("10.0.0.1"));
    EXPECT_EQ(ways.find(ip("2001:db8::1")).source, ip("fd00:2::2"))
        << "not the link-local one of the router's network";
    EXPECT_EQ(ways.find(ip("fe80::9")).source, ip("fe80::2"));
    EXPECT_EQ(ways.find(ip("fd00:1::9")).source, ip("fd00:2::2"))
        << "one that is still tentative is the last choice";
}

TEST_F(KernelWaysTest, PathsOfARouteShareBackendsByWeight) {
    ways.set_routes({route("192.168.0.0/16",
                           {via("10.1.0.1"), via("10.1.0.3", kEdge, 3), via("10.9.0.1", kManagement)})});
    const auto share = shares();
    ASSERT_EQ(share.size(), 2u) << "the path out of another interface takes none";
    EXPECT_NEAR(share.at(ip("10.1.0.1")), 250, 60);
    EXPECT_EQ(shares(), share) << "the same each time";
}

TEST_F(KernelWaysTest, APathThatGoesMovesItsOwnBackendsAlone) {
    ways.set_routes({route("192.168.0.0/16", {via("10.1.0.1"), via("10.1.0.3"), via("10.2.0.5", kInner)})});
    for (unsigned i = 0; i < 1'000; ++i) (void)ways.want_hops_to(backend_address(i));
    EXPECT_EQ(ways.neighbors().size(), 3u);
    std::vector<IpAddress> before;
    for (unsigned i = 0; i < 1'000; ++i) before.push_back(ways.find(backend_address(i)).hop);
    neighbor("10.1.0.3", failed());
    for (unsigned i = 0; i < 1'000; ++i) {
        const IpAddress hop = ways.find(backend_address(i)).hop;
        if (before[i] == ip("10.1.0.3"))
            EXPECT_NE(hop, before[i]);
        else
            EXPECT_EQ(hop, before[i]);
    }
    const WaysChange change = ways.take_change();
    EXPECT_TRUE(change.concerns_route_to(backend_address(5))) << "whoever may move is looked at";
    neighbor("10.1.0.1", failed());
    neighbor("10.2.0.5", failed(), PortId{1});
    EXPECT_EQ(shares().size(), 3u) << "all dead: as if all lived";
    neighbor("10.1.0.1", resolved(kMac));
    EXPECT_EQ(shares(), (std::map<IpAddress, unsigned>{{ip("10.1.0.1"), 1'000u}}));
}

TEST_F(KernelWaysTest, APathWithoutCarrierIsPassedOverUnlessItIsTheOnlyOne) {
    KernelRoute two = route("192.168.0.0/16", {via("10.1.0.1"), via("10.2.0.5", kInner)});
    two.paths[0].link_down = true;
    ways.set_routes({two});
    EXPECT_EQ(shares().size(), 1u);
    EXPECT_EQ(shares().begin()->first, ip("10.2.0.5"));
    two.paths.pop_back();
    ways.set_routes({two});
    EXPECT_EQ(shares().begin()->first, ip("10.1.0.1"));
}

TEST_F(KernelWaysTest, ChangesNameWhomTheyConcern) {
    ways.set_routes({route("10.1.0.0/24", {on_link()}), route("0.0.0.0/0", {via("10.1.0.1")})});
    want("10.1.0.11");
    want("192.168.1.1");
    (void)ways.take_change();
    neighbor("10.1.0.1", resolved(kMac));
    WaysChange change = ways.take_change();
    EXPECT_TRUE(change.concerns(ip("192.168.1.1"), ip("10.1.0.1")));
    EXPECT_FALSE(change.concerns(ip("10.1.0.11"), ip("10.1.0.11")));
    neighbor("10.1.0.1", resolved(kMac));
    EXPECT_TRUE(ways.take_change().none()) << "the same again";
    neighbor("10.1.0.99", resolved(kMac));
    EXPECT_TRUE(ways.take_change().none()) << "nobody's next hop";
    ways.set_routes({route("10.1.0.0/24", {on_link()}), route("0.0.0.0/0", {via("10.1.0.9")})});
    change = ways.take_change();
    EXPECT_TRUE(change.concerns_route_to(ip("192.168.1.1")));
    ways.set_routes({route("10.1.0.0/24", {on_link()}), route("0.0.0.0/0", {via("10.1.0.9")})});
    EXPECT_TRUE(ways.take_change().none());
    ways.set_interface(PortId{1}, kInner, {});
    EXPECT_TRUE(ways.take_change().all);
    for (unsigned i = 0; i < 100; ++i)
        ways.set_routes({route("10.77." + std::to_string(i) + ".0/24", {on_link()})});
    EXPECT_TRUE(ways.take_change().all) << "many prefixes: everybody";
}

TEST_F(KernelWaysTest, AnInterfaceThatIsMadeAgainKeepsItsMacs) {
    ways.set_routes({route("10.1.0.0/24", {on_link()})});
    want("10.1.0.11");
    KernelNeighbor managed = resolved(kMac);
    managed.is_managed = true;
    neighbor("10.1.0.11", managed);
    ways.set_interface(PortId{0}, InterfaceIndex::none, {});
    EXPECT_EQ(ways.find(ip("10.1.0.11")).problem, WayProblem::foreign_interface);
    ways.set_interface(PortId{0}, InterfaceIndex{12}, {{prefix("10.1.0.2/24")}});
    ways.set_routes({route("10.1.0.0/24", {on_link(InterfaceIndex{12})})});
    const KernelWay way = ways.find(ip("10.1.0.11"));
    ASSERT_NE(way.neighbor, nullptr);
    EXPECT_TRUE(way.neighbor->resolved);
    EXPECT_FALSE(way.neighbor->is_kept()) << "the kernel must be told anew";
}

TEST_F(KernelWaysTest, HopsThatNobodyNeedsAreForgotten) {
    ways.set_routes({route("10.1.0.0/24", {on_link()}), route("0.0.0.0/0", {via("10.1.0.1")})});
    want("10.1.0.11");
    want("10.1.0.12");
    want("192.168.1.1");
    neighbor("10.1.0.12", resolved(kMac));
    const auto gone = ways.forget_hops_except({ip("10.1.0.12")});
    EXPECT_EQ(gone.size(), 2u);
    EXPECT_TRUE(ways.find(ip("10.1.0.12")).neighbor->resolved);
    EXPECT_EQ(ways.count_hops().resolved, 1u);
    EXPECT_EQ(ways.count_hops().unresolved, 0u);
}

TEST_F(KernelWaysTest, NetworksAreMaskedToTheBit) {
    EXPECT_EQ(network_of(ip("10.1.255.255"), 22), prefix("10.1.252.0/22"));
    EXPECT_EQ(network_of(ip("10.1.255.255"), 32).address, ip("10.1.255.255"));
    EXPECT_EQ(network_of(ip("fd00::ffff"), 121), prefix("fd00::ff80/121"));
    EXPECT_EQ(network_of(ip("fd00::ffff"), 0), prefix("::/0"));
}

// Port 0 has a host interface, port 1 has none and is the file's.
TEST(NextHopsByKernel, TheKernelDecidesItsPortsAndTheFileTheOthers) {
    Config config = edge_config();
    config.ports[0].host_interface = "weir0";
    PortConfig plain;
    plain.name = "plain";
    plain.addresses = {prefix("10.3.0.2/24")};
    config.ports.push_back(plain);
    NeighborConfig entry;
    entry.address = ip("10.3.0.9");
    entry.mac = kOther;
    entry.port = "plain";
    config.neighbors.push_back(entry);
    KernelWays ways({"weir0", ""});
    const NextHops hops(config, false, &ways);
    EXPECT_FALSE(hops.find(ip("10.1.1.11")).reachable)
        << "the file's entries of that port are the kernel's matter";
    EXPECT_EQ(hops.find(ip("10.3.0.9")).mac, kOther);

    ways.set_interface(PortId{0}, kEdge, {{prefix("10.1.0.2/16")}});
    ways.set_routes({route("10.1.0.0/16", {on_link()}), route("0.0.0.0/0", {via("10.1.0.1")})});
    (void)ways.want_hops_to(ip("10.1.1.11"));
    NextHop hop = hops.find(ip("10.1.1.11"));
    EXPECT_TRUE(hop.reachable && hop.on_link && hop.by_kernel && !hop.resolved);
    EXPECT_EQ(hop.source, ip("10.1.0.2"));
    ways.set_neighbor({PortId{0}, ip("10.1.1.11")}, resolved(kMac));
    hop = hops.find(ip("10.1.1.11"));
    EXPECT_TRUE(hop.resolved);
    EXPECT_EQ(hop.mac, kMac);
    EXPECT_EQ(hops.find(ip("10.3.0.9")).port, PortId{1})
        << "the longer prefix, not the kernel's default route";
    EXPECT_EQ(hops.find(ip("10.4.0.9")).address, ip("10.1.0.1"));

    EXPECT_EQ(own_addresses(PortId{0}, config.ports[0], &ways), std::vector{ip("10.1.0.2")})
        << "the kernel's";
    EXPECT_EQ(own_addresses(PortId{1}, config.ports[1], &ways), std::vector{ip("10.3.0.2")});
    EXPECT_EQ(own_addresses(PortId{0}, config.ports[0], nullptr).size(), 2u) << "the file's";
}

TEST(GcThreshold, WarnsWhenNextHopsFillHalfTheTable) {
    EXPECT_FALSE(gc_warning(Family::v4, 512, 1024));
    const auto warning = gc_warning(Family::v6, 2'000, 1024);
    ASSERT_TRUE(warning);
    EXPECT_NE(warning->find("sysctl -w net.ipv6.neigh.default.gc_thresh3=8192"), std::string::npos);
}

}  // namespace
}  // namespace weir
