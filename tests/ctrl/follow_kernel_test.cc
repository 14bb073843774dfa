// What the kernel knows is in force in every worker, soon: MACs, gateways, routes, addresses, interfaces.
#include <malloc.h>

#include <cstdio>

#include "tests/ctrl/following_world.h"
#include "tests/support/sanitized.h"

namespace weir::test {
namespace {

const MacAddress kFirst = mac("02:00:00:00:00:11"), kSecond = mac("02:00:00:00:00:12");
const MacAddress kRouter = mac("02:00:00:00:00:fe"), kOtherRouter = mac("02:00:00:00:00:fd");
constexpr std::chrono::milliseconds kPromise{kSanitized ? 500 : 50};

using FollowKernelTest = FollowingWorld;

TEST_F(FollowKernelTest, AReplacedMachineIsFollowedIn50Milliseconds) {
    for (const char* address : {"10.1.1.11", "fd00:1::11"}) {
        tap_->add(ip(address), kFirst);
        if (!world_) start(config({backend("w1", "10.1.1.11"), backend("w2", "fd00:1::11")}));
        const unsigned id = ip(address).is_v4() ? 0 : 1;
        run_until([&] { return has_mac(kFirst, id); });
        std::vector<milliseconds> took;
        for (unsigned round = 0; round < 9; ++round) {
            const MacAddress next = round % 2 == 0 ? kSecond : kFirst;
            tap_->replace(ip(address), next);
            took.push_back(run_until([&] { return has_mac(next, id); }));
        }
        std::ranges::sort(took);
        std::printf("%s: a new MAC is in force after %lld ms (median of 9, most %lld)\n", address,
                    static_cast<long long>(took[4].count()), static_cast<long long>(took.back().count()));
        EXPECT_LE(took[4], kPromise);
    }
    EXPECT_GE(follower_->stats().publish_durations.count(), 18u);
}

TEST_F(FollowKernelTest, AnUnresolvedNextHopIsAskedForUntilItAnswers) {
    start(config({backend("w1", "10.1.1.11")}));
    run_until([&] { return view_->ways().count_hops().failed == 1; });
    EXPECT_FALSE(record().resolved);
    run_until([&] { return !sentences_.empty(); });
    EXPECT_EQ(
        sentences_.front(),
        "backend 10.1.1.11: nobody answers for 10.1.1.11 on weir0, the host interface of port \"edge\"");
    tap_->add(ip("10.1.1.11"), kFirst);
    run_until([&] { return has_mac(kFirst); }, milliseconds(15'000));
}

TEST_F(FollowKernelTest, TheLastMacHoldsUntilTheKernelSaysFailed) {
    tap_->add(ip("10.1.1.11"), kFirst);
    start(config({backend("w1", "10.1.1.11")}));
    run_until([&] { return has_mac(kFirst); });
    EXPECT_TRUE(view_->ways().neighbors().begin()->second.is_managed) << "needs Linux 5.16";
    shell("ip neigh change 10.1.1.11 dev weir0 nud stale");
    run_until([&] { return view_->changes() > 0; });
    EXPECT_TRUE(has_mac(kFirst));
    tap_->remove(ip("10.1.1.11"));
    shell("ip neigh change 10.1.1.11 dev weir0 nud failed");
    EXPECT_LE(run_until([&] { return !record().resolved; }), milliseconds(1'000));
}

TEST_F(FollowKernelTest, WithoutALinkTheLastMacHoldsAndWithItAllAreAskedAnew) {
    for (const char* address : {"10.1.1.11", "fd00:1::11"}) tap_->add(ip(address), kFirst);
    start(config({backend("w1", "10.1.1.11"), backend("w2", "fd00:1::11")}));
    run_until([&] { return has_mac(kFirst, 0) && has_mac(kFirst, 1); });
    view_->set_link(PortId{0}, false);
    const std::uint64_t changes = view_->changes();
    shell("ip neigh change 10.1.1.11 dev weir0 nud failed; ip neigh change fd00:1::11 dev weir0 nud failed");
    run_until([&] { return view_->changes() >= changes + 2; });
    EXPECT_TRUE(has_mac(kFirst, 0) && has_mac(kFirst, 1));
    for (const char* address : {"10.1.1.11", "fd00:1::11"}) tap_->add(ip(address), kSecond);
    view_->set_link(PortId{0}, true);
    EXPECT_LE(run_until([&] { return has_mac(kSecond, 0) && has_mac(kSecond, 1); }), milliseconds(200));
    EXPECT_TRUE(view_->ways().neighbors().begin()->second.is_managed);
}

// The kernel calls an entry FAILED when weir deletes it to ask anew.
TEST_F(FollowKernelTest, WithTheLinkTheLastMacHoldsUntilNobodyAnswers) {
    for (const char* address : {"10.1.1.11", "fd00:1::11"}) tap_->add(ip(address), kFirst);
    start(config({backend("w1", "10.1.1.11"), backend("w2", "fd00:1::11")}));
    run_until([&] { return has_mac(kFirst, 0) && has_mac(kFirst, 1); });
    view_->set_link(PortId{0}, false);
    for (const char* address : {"10.1.1.11", "fd00:1::11"}) tap_->remove(ip(address));
    const std::uint64_t changes = view_->changes();
    view_->set_link(PortId{0}, true);
    run_until([&] { return view_->changes() >= changes + 4; });
    const auto begun = Clock::now();
    run_until([&] {
        EXPECT_TRUE(has_mac(kFirst, 0) && has_mac(kFirst, 1));
        return Clock::now() - begun > milliseconds(300);
    });
    EXPECT_LE(run_until([&] { return !record(0).resolved && !record(1).resolved; }, milliseconds(15'000)),
              milliseconds(10'000))
        << "the kernel asks three times, a second apart";
}

TEST_F(FollowKernelTest, NeighboursAreAskedWhenTheKernelHasSeenTheCarrier) {
    for (const char* address : {"10.1.1.11", "fd00:1::11"}) tap_->add(ip(address), kFirst);
    start(config({backend("w1", "10.1.1.11"), backend("w2", "fd00:1::11")}));
    run_until([&] { return has_mac(kFirst, 0) && has_mac(kFirst, 1); });
    for (unsigned round = 0; round < 3; ++round) {
        const MacAddress& mac = round % 2 == 0 ? kSecond : kFirst;
        tap_->set_carrier(false);
        view_->set_link(PortId{0}, false);
        shell(
            "for i in $(seq 100); do ip -br link show weir0 | grep -q NO-CARRIER && break; sleep 0.02; done");
        for (const char* address : {"10.1.1.11", "fd00:1::11"}) tap_->add(ip(address), mac);
        tap_->set_carrier(true);
        view_->set_link(PortId{0}, true);
        EXPECT_LE(run_until([&] { return has_mac(mac, 0) && has_mac(mac, 1); }), milliseconds(500))
            << "not a second later, with the kernel's timer";
    }
}

TEST_F(FollowKernelTest, APermanentEntryStaysTheOperators) {
    shell("ip neigh add 10.1.1.11 lladdr 02:00:00:00:00:12 dev weir0 nud permanent");
    start(config({backend("w1", "10.1.1.11")}));
    EXPECT_TRUE(has_mac(kSecond)) << "with the first snapshot";
    run_until([&] { return true; });
    follower_->each_second();
    shell("ip neigh show 10.1.1.11 dev weir0 | grep -q PERMANENT");
}

TEST_F(FollowKernelTest, GatewaysAndRoutesAreFollowed) {
    tap_->add(ip("10.1.0.1"), kRouter);
    tap_->add(ip("10.1.0.9"), kOtherRouter);
    tap_->add(ip("fd00:1::1"), kRouter);
    shell("ip route add default via 10.1.0.1 dev weir0");
    start(config({backend("w1", "192.168.7.1"), backend("w2", "2001:db8::1")}));
    run_until([&] { return has_mac(kRouter); });
    EXPECT_FALSE(record(1).resolved);
    shell("ip -6 route add 2001:db8::/32 via fd00:1::1 dev weir0");
    run_until([&] { return has_mac(kRouter, 1); });
    shell("ip route add 192.168.0.0/16 via 10.1.0.9 dev weir0");
    run_until([&] { return has_mac(kOtherRouter); });
    std::vector<milliseconds> took;  // from now on both routers are known
    for (unsigned round = 0; round < 9; ++round) {
        const bool other = round % 2 == 1;
        shell(std::string("ip route replace 192.168.0.0/16 via ") + (other ? "10.1.0.9" : "10.1.0.1") +
              " dev weir0");
        took.push_back(run_until([&] { return has_mac(other ? kOtherRouter : kRouter); }));
    }
    std::ranges::sort(took);
    std::printf("a new route is in force after %lld ms (median of 9, most %lld)\n",
                static_cast<long long>(took[4].count()), static_cast<long long>(took.back().count()));
    EXPECT_LE(took[4], kPromise);
    shell("ip route add blackhole 192.168.7.0/24");
    run_until([&] { return !record().resolved; });
    shell("ip route del blackhole 192.168.7.0/24");
    run_until([&] { return record().resolved; });
}

TEST_F(FollowKernelTest, TenThousandBackendsChangeTheirRouter) {
    tap_->add(ip("10.1.0.1"), kRouter);
    tap_->add(ip("10.1.0.9"), kOtherRouter);
    shell("ip route add default via 10.1.0.1 dev weir0 && ip route add 10.99.0.0/16 via 10.1.0.9 dev weir0");
    std::vector<BackendConfig> backends{backend("router", "10.99.0.1")};
    for (unsigned i = 0; i < 10'000; ++i)
        backends.push_back(backend("w" + std::to_string(i),
                                   "192.168." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250)));
    start(config(std::move(backends)));
    run_until([&] { return has_mac(kRouter, 9'999) && has_mac(kOtherRouter); });
    std::vector<milliseconds> took;
    for (unsigned round = 0; round < 9; ++round) {
        const bool other = round % 2 == 0;
        shell(std::string("ip route replace default via ") + (other ? "10.1.0.9" : "10.1.0.1") +
              " dev weir0");
        took.push_back(run_until([&] { return has_mac(other ? kOtherRouter : kRouter, 9'999); }));
    }
    std::ranges::sort(took);
    std::printf("with 10,000 backends a new route is in force after %lld ms (median of 9, most %lld)\n",
                static_cast<long long>(took[4].count()), static_cast<long long>(took.back().count()));
    EXPECT_LE(took[4], kPromise);
}

TEST_F(FollowKernelTest, SeveralPathsShareBackendsAndADeadOneIsLeft) {
    tap_->add(ip("10.1.0.1"), kRouter);
    tap_->add(ip("10.1.0.9"), kOtherRouter);
    shell(
        "ip route add 192.168.0.0/16 nexthop via 10.1.0.1 dev weir0 weight 1 nexthop via 10.1.0.9 dev weir0 "
        "weight 1");
    std::vector<BackendConfig> backends;
    for (unsigned i = 1; i <= 32; ++i)
        backends.push_back(backend("w" + std::to_string(i), "192.168.0." + std::to_string(i)));
    start(config(std::move(backends)));
    const auto over = [&](const MacAddress& router) {
        unsigned count = 0;
        for (unsigned id = 0; id < 32; ++id) count += has_mac(router, id) ? 1 : 0;
        return count;
    };
    run_until([&] { return over(kRouter) + over(kOtherRouter) == 32; });
    EXPECT_GT(over(kRouter), 5u);
    EXPECT_GT(over(kOtherRouter), 5u);
    tap_->remove(ip("10.1.0.9"));
    shell("ip neigh change 10.1.0.9 dev weir0 nud failed");
    run_until([&] { return over(kRouter) == 32; });
    tap_->replace(ip("10.1.0.9"), kOtherRouter);
    tap_->add(ip("10.1.0.9"), kOtherRouter);
    run_until([&] { return over(kOtherRouter) > 5; }, milliseconds(15'000));
}

TEST_F(FollowKernelTest, NextHopObjectsAreRoutesLikeOthers) {
    tap_->add(ip("10.1.0.1"), kRouter);
    tap_->add(ip("10.1.0.9"), kOtherRouter);
    shell("ip nexthop add id 7 via 10.1.0.1 dev weir0 && ip route add 192.168.0.0/16 nhid 7");
    start(config({backend("w1", "192.168.7.1")}));
    run_until([&] { return has_mac(kRouter); });
    shell("ip nexthop replace id 7 via 10.1.0.9 dev weir0");
    run_until([&] { return has_mac(kOtherRouter); });
}

TEST_F(FollowKernelTest, ARouteOutOfAnotherInterfaceIsNamed) {
    std::optional<TapNeighborhood> management("mgmt0");
    shell("ip addr add 172.16.0.1/24 dev mgmt0 && ip link set mgmt0 up");
    start(config({backend("w1", "172.16.0.7")}));
    EXPECT_FALSE(record().resolved);
    run_until([&] { return !sentences_.empty(); });
    EXPECT_NE(sentences_.front().find("leads out of mgmt0, which is no port's host interface"),
              std::string::npos);
    management.reset();
    run_until(
        [&] { return world_->compiled().inputs[0].hop.reachable == false && view_->ways().routes() == 0; });
}

TEST_F(FollowKernelTest, AddressesFollowTheKernel) {
    start(config({backend("w1", "10.1.1.11")}));
    const auto has = [&](std::string_view address) {
        const auto& addresses = world_->snapshot()->ports[0].addresses;
        return std::ranges::find(addresses, ip(address)) != addresses.end();
    };
    run_until([&] { return has("10.1.0.2") && has("fd00:1::2"); });
    shell("ip addr add 10.1.0.3/16 dev weir0 && ip addr add fe80::77/64 dev weir0 nodad");
    run_until([&] { return has("10.1.0.3") && has("fe80::77"); });
    shell("ip addr del 10.1.0.3/16 dev weir0");
    run_until([&] { return !has("10.1.0.3"); });
}

TEST_F(FollowKernelTest, AnInterfaceThatComesAfterTheStartIsFound) {
    tap_.reset();
    start(config({backend("w1", "10.1.1.11")}));
    EXPECT_FALSE(record().resolved);
    run_until([&] { return !sentences_.empty(); });
    EXPECT_EQ(
        sentences_.front(),
        "backend 10.1.1.11: the kernel has no route there: add one with ip route, or an address to the port");
    make_interface();
    tap_->add(ip("10.1.1.11"), kFirst);
    run_until([&] { return has_mac(kFirst); });
    run_until([&] { return sentences_.back() == "every backend has a resolved next hop again"; });
}

TEST_F(FollowKernelTest, AnInterfaceThatIsDeletedAndMadeAgainIsFoundAgain) {
    tap_->add(ip("10.1.1.11"), kFirst);
    start(config({backend("w1", "10.1.1.11")}));
    run_until([&] { return has_mac(kFirst); });
    for (unsigned round = 0; round < 5; ++round) {
        const InterfaceIndex before = view_->ways().interface_of(PortId{0}).index;
        tap_.reset();
        run_until([&] { return !record().resolved; });
        EXPECT_EQ(world_->snapshot()->ports[0].addresses.size(), 2u)
            << "the file's, until the kernel has some";
        make_interface();
        tap_->add(ip("10.1.1.11"), kSecond);
        run_until([&] { return has_mac(kSecond); });
        EXPECT_NE(view_->ways().interface_of(PortId{0}).index, before);
        tap_->replace(ip("10.1.1.11"), kFirst);
        run_until([&] { return has_mac(kFirst); });
    }
    shell("ip link set weir0 down");
    run_until([&] { return !record().resolved; });
    shell("ip link set weir0 up");
    EXPECT_LE(run_until([&] { return has_mac(kFirst); }), milliseconds(1'000));
}

// Entries that the kernel may not collect, so that its table, which all namespaces share, is not full.
constexpr const char* kStorm =
    "awk 'BEGIN { for (i = 0; i < 50000; ++i) {"
    " printf \"neigh replace 10.1.%d.%d lladdr 02:99:00:00:%02x:%02x dev weir0 nud stale extern_learn\\n\","
    "   50 + i / 250, i % 250, i / 250, i % 250;"
    " printf \"neigh replace fd00:1::9:%x lladdr 02:99:00:00:%02x:%02x dev weir0 nud stale extern_learn\\n\","
    "   i, i / 256, i % 256 } }' | ip -batch -";

TEST_F(FollowKernelTest, AStormOfNeighborsLeavesMemoryAndTheGatewayAlone) {
    tap_->add(ip("10.1.0.1"), kRouter);
    shell("ip route add default via 10.1.0.1 dev weir0");
    start(config({backend("w1", "192.168.7.1")}));
    run_until([&] { return has_mac(kRouter); });
    const std::size_t before = mallinfo2().uordblks;
    const std::uint64_t generation = world_->generation();
    std::atomic<bool> over{false};
    std::thread storm([&] {
        EXPECT_EQ(std::system(kStorm), 0);
        over = true;
    });
    run_until([&] { return over.load(); }, milliseconds(60'000));
    storm.join();
    EXPECT_TRUE(has_mac(kRouter));
    EXPECT_EQ(view_->ways().neighbors().size(), 1u);
    EXPECT_LT(mallinfo2().uordblks, before + (1u << 20)) << "bytes";
    EXPECT_LE(world_->generation(), generation + 20) << "nobody is compiled for the storm";
    tap_->replace(ip("10.1.0.1"), kOtherRouter);
    const milliseconds took = run_until([&] { return has_mac(kOtherRouter); });
    std::printf("with 100,000 other neighbours a new MAC is in force after %lld ms; resyncs %llu\n",
                static_cast<long long>(took.count()), static_cast<unsigned long long>(view_->resyncs()));
}

TEST_F(FollowKernelTest, WhatWasLostIsReadAnew) {
    tap_->add(ip("10.1.0.1"), kRouter);
    tap_->add(ip("10.1.0.9"), kOtherRouter);
    shell("ip route add 192.168.0.0/16 via 10.1.0.1 dev weir0");
    start(config({backend("w1", "192.168.7.1")}), 8'192);
    run_until([&] { return has_mac(kRouter); });
    // Nobody reads meanwhile.
    for (unsigned i = 0; i < 100; ++i)
        shell("ip route add 10.200." + std::to_string(i) + ".0/24 via 10.1.0.1 dev weir0");
    shell("ip route replace 192.168.0.0/16 via 10.1.0.9 dev weir0");
    run_until([&] { return has_mac(kOtherRouter); });
    EXPECT_GE(view_->resyncs(), 1u);
}

TEST_F(FollowKernelTest, AReloadAsksForItsBackendsFirstAndLetsOldOnesGo) {
    tap_->add(ip("10.1.1.12"), kSecond);
    shell("ip neigh add 10.1.1.11 lladdr 02:00:00:00:00:11 dev weir0 nud permanent");
    start(config({backend("w1", "10.1.1.12")}));
    run_until([&] { return has_mac(kSecond); });
    apply(config({backend("w1", "10.1.1.12"), backend("w2", "10.1.1.11")}));
    EXPECT_TRUE(has_mac(kFirst, 1)) << "known with the reload's own snapshot";
    view_->want_only({ip("10.1.1.11")});
    EXPECT_EQ(view_->ways().neighbors().size(), 1u);
    shell("ip neigh show 10.1.1.11 dev weir0 | grep -q PERMANENT");
    shell("! ip neigh show 10.1.1.12 dev weir0 | grep -q managed");
}

}  // namespace
}  // namespace weir::test
