#include "ctrl/announce/vip_presence.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using Vips = std::set<IpAddress>;

Vips set_of(std::initializer_list<std::string_view> texts) {
    Vips vips;
    for (const std::string_view text : texts) vips.insert(ip(text));
    return vips;
}

TEST(VipRoutes, DiffRemovesFirstAndKeepsToItsLimit) {
    const Vips present = set_of({"10.0.0.1", "10.0.0.2", "10.0.0.3"});
    const Vips wanted = set_of({"10.0.0.3", "10.0.0.4", "10.0.0.5", "2001:db8::1"});
    const VipRouteChanges all = diff_vip_routes(present, wanted, 100);
    EXPECT_EQ(all.remove, (std::vector{ip("10.0.0.1"), ip("10.0.0.2")}));
    EXPECT_EQ(all.add, (std::vector{ip("10.0.0.4"), ip("10.0.0.5"), ip("2001:db8::1")}));
    const VipRouteChanges three = diff_vip_routes(present, wanted, 3);
    EXPECT_EQ(three.remove.size(), 2u);
    EXPECT_EQ(three.add, (std::vector{ip("10.0.0.4")}));
    const VipRouteChanges one = diff_vip_routes(present, wanted, 1);
    EXPECT_EQ(one.remove.size(), 1u);
    EXPECT_TRUE(one.add.empty());
    const VipRouteChanges none = diff_vip_routes(wanted, wanted, 100);
    EXPECT_TRUE(none.remove.empty() && none.add.empty());
}

// A kernel that keeps routes, or refuses.
struct Kernel {
    Vips routes;
    std::size_t calls = 0;
    std::string refusal;
    std::vector<std::string> told;

    Result<void> change(const IpAddress& vip, bool add) {
        ++calls;
        if (!refusal.empty()) return machine_error(refusal);
        if (add)
            routes.insert(vip);
        else
            routes.erase(vip);
        return {};
    }
    VipRoutes vip_routes() {
        return {[this](const IpAddress& vip) { return change(vip, true); },
                [this](const IpAddress& vip) { return change(vip, false); },
                [this](Severity, const std::string& sentence) { told.push_back(sentence); }};
    }
};

constexpr VipRoutes::Time at(std::chrono::milliseconds time) { return VipRoutes::Time(time); }

TEST(VipRoutes, ManyTakeSeveralTicks) {
    Kernel kernel;
    VipRoutes routes = kernel.vip_routes();
    Vips vips;
    for (std::uint32_t i = 0; i < 250; ++i) vips.insert(IpAddress(Ipv4Address{Be32(0x0a00'0000 + i)}));
    routes.activate(vips);
    std::size_t ticks = 0;
    for (; !routes.settled(); ++ticks) {
        const std::size_t before = kernel.calls;
        routes.tick(at(10ms * ticks));
        EXPECT_LE(kernel.calls - before, VipRoutes::kChangesATick);
    }
    EXPECT_EQ(ticks, 3u);
    EXPECT_EQ(kernel.routes, vips);
    routes.tick(at(1s));
    EXPECT_EQ(kernel.calls, 250u) << "settled: nothing is asked of the kernel";
}

TEST(VipRoutes, ForgottenOnesAreMadeAnew) {
    Kernel kernel;
    VipRoutes routes = kernel.vip_routes();
    routes.activate(set_of({"10.0.0.1", "10.0.0.2"}));
    routes.tick(at(0ms));
    kernel.routes.clear();  // somebody has set the interface down and up
    routes.forget();
    routes.tick(at(10ms));
    EXPECT_EQ(kernel.routes, set_of({"10.0.0.1", "10.0.0.2"}));
}

TEST(VipRoutes, ARefusalIsToldOnceAndTriedAgain) {
    Kernel kernel;
    VipRoutes routes = kernel.vip_routes();
    kernel.refusal = "network is down";
    routes.activate(set_of({"10.0.0.1", "10.0.0.2"}));
    for (int i = 0; i < 300; ++i) routes.tick(at(10ms * i));
    EXPECT_EQ(kernel.calls, 3u) << "once a second";
    EXPECT_EQ(kernel.told,
              std::vector<std::string>{"routes of VIPs: network is down; weir tries again until it can"});
    kernel.refusal.clear();
    routes.tick(at(4s));
    EXPECT_EQ(kernel.routes.size(), 2u);
    EXPECT_TRUE(routes.settled());
    kernel.refusal = "network is down";
    routes.withdraw_all_but({});
    routes.tick(at(6s));
    EXPECT_EQ(kernel.told.size(), 2u) << "in between it could";
    EXPECT_FALSE(routes.settled());
}

TEST(VipPresence, VipsOfAConfiguration) {
    Config config = web_config();
    config.services.push_back(service("tls", "203.0.113.10", "web", ForwardingMode::ipip, 443));
    config.services.push_back(service("own", "10.1.0.2", "web"));
    config.services.push_back(service("six", "2001:db8::10", "web"));
    const std::vector<AnnouncedVip> vips = vips_of(config);
    ASSERT_EQ(vips.size(), 3u);
    EXPECT_EQ(vips[0].address, ip("10.1.0.2"));
    EXPECT_EQ(vips[0].only, PortId{0}) << "the port's own address is nobody else's";
    EXPECT_EQ(vips[1].address, ip("203.0.113.10"));
    EXPECT_FALSE(vips[1].only);
    EXPECT_EQ(vips[2].address, ip("2001:db8::10"));
}

// A world with one worker, and what is sent and routed on its behalf.
struct Bench {
    Kernel kernel;
    std::map<IpAddress, int> announced;
    std::chrono::milliseconds clock{0};
    CountingWorkers workers{1};
    World world{[] {
                    WorldOptions options;
                    options.ports = edge_facts();
                    return options;
                }(),
                workers.all()};
    VipPresence presence{Announcer(1,
                                   [this](PortId, const IpAddress& vip) {
                                       ++announced[vip];
                                       return true;
                                   }),
                         kernel.vip_routes()};

    void apply(const Config& config) { ASSERT_TRUE(world.apply(config)); }
    void run(std::chrono::milliseconds time) {
        for (const auto end = clock + time; clock < end; clock += 10ms) presence.tick(world, at(clock));
    }
    void link(bool up) { presence.set_link(PortId{0}, up, at(clock)); }
};

TEST(VipPresence, NothingBeforeTheSnapshotIsInForce) {
    Bench bench;
    bench.run(100ms);
    bench.link(true);
    bench.apply(web_config());
    bench.run(5s);
    EXPECT_TRUE(bench.announced.empty() && bench.kernel.routes.empty());
    bench.workers.take(bench.world.generation());
    bench.run(5s);
    EXPECT_EQ(bench.announced[ip("203.0.113.10")], 2);
    EXPECT_EQ(bench.kernel.routes, set_of({"203.0.113.10"}));
}

TEST(VipPresence, AReloadWithdrawsAtOnceAndActivatesWhenInForce) {
    Bench bench;
    bench.link(true);
    bench.apply(web_config());
    bench.workers.take(bench.world.generation());
    bench.run(100ms);
    ASSERT_EQ(bench.announced[ip("203.0.113.10")], 1);

    Config next = web_config();
    next.services[0].vip = ip("203.0.113.20");
    bench.apply(next);
    bench.run(5s);
    EXPECT_EQ(bench.announced[ip("203.0.113.10")], 1) << "its repetition is cancelled";
    EXPECT_TRUE(bench.kernel.routes.empty()) << "no worker has the new VIP yet";
    EXPECT_EQ(bench.announced.count(ip("203.0.113.20")), 0u);
    bench.workers.take(bench.world.generation());
    bench.run(5s);
    EXPECT_EQ(bench.announced[ip("203.0.113.20")], 2);
    EXPECT_EQ(bench.kernel.routes, set_of({"203.0.113.20"}));
}

TEST(VipPresence, LinkUpMakesTheRoutesAnew) {
    Bench bench;
    bench.link(true);
    bench.apply(web_config());
    bench.workers.take(bench.world.generation());
    bench.run(100ms);
    bench.link(true);
    bench.run(100ms);
    EXPECT_EQ(bench.kernel.calls, 1u) << "nothing has changed";
    bench.kernel.routes.clear();
    bench.link(false);
    bench.link(true);
    bench.run(100ms);
    EXPECT_EQ(bench.kernel.routes, set_of({"203.0.113.10"}));
}

TEST(VipPresence, HealthChangesAnnounceNothing) {
    Bench bench;
    bench.link(true);
    bench.apply(web_config());
    bench.workers.take(bench.world.generation());
    bench.run(5s);
    bench.world.republish();
    bench.workers.take(bench.world.generation());
    bench.run(5s);
    EXPECT_EQ(bench.announced[ip("203.0.113.10")], 2);
}

TEST(VipPresence, AHiddenVipIsWithdrawnUntilItIsShownAgain) {
    Bench bench;
    bench.link(true);
    bench.apply(web_config());
    bench.workers.take(bench.world.generation());
    bench.run(100ms);
    bench.presence.hide(set_of({"203.0.113.10"}));
    bench.run(5s);
    EXPECT_EQ(bench.announced[ip("203.0.113.10")], 1) << "its repetition is cancelled";
    EXPECT_TRUE(bench.kernel.routes.empty());
    bench.presence.hide({});
    bench.run(5s);
    EXPECT_EQ(bench.announced[ip("203.0.113.10")], 3);
    EXPECT_EQ(bench.kernel.routes, set_of({"203.0.113.10"}));
}

TEST(VipPresence, ThePortsOwnAddressHasNoRouteOfWeirs) {
    Bench bench;
    bench.link(true);
    Config config = web_config();
    config.services.push_back(service("own", "10.1.0.2", "web"));
    bench.apply(config);
    bench.workers.take(bench.world.generation());
    bench.run(5s);
    EXPECT_EQ(bench.announced[ip("10.1.0.2")], 2);
    EXPECT_EQ(bench.kernel.routes, set_of({"203.0.113.10"}));
}

}  // namespace
}  // namespace weir
