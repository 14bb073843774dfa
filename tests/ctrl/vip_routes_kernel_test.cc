// Routes to VIPs in a kernel, in a network namespace of the test's own. Root only.
#include <gtest/gtest.h>
#include <net/if.h>

#include <chrono>

#include "ctrl/announce/vip_routes.h"
#include "dataplane/net/address_text.h"
#include "drivers/netlink.h"
#include "tests/ctrl/config_builder.h"
#include "tests/drivers/own_network.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using test::shell;
using test::succeeds;

class VipRoutesInKernel : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        test::enter_own_network();
        if (!test::is_root()) return;
        shell("ip link add name weir0 type veth peer name wire");
        shell("ip link set weir0 up");
        shell("ip link set wire up");
    }
    void SetUp() override {
        if (!test::is_root()) GTEST_SKIP() << "needs root: a network namespace of its own";
    }
    VipRoutes routes() {
        const int interface = static_cast<int>(if_nametoindex("weir0"));
        return {[=, this](const IpAddress& vip) { return netlink.add_link_route(interface, prefix_of(vip)); },
                [=, this](const IpAddress& vip) { return netlink.remove_route(interface, prefix_of(vip)); },
                [this](Severity, const std::string& sentence) { told.push_back(sentence); }};
    }
    static std::string prefix_of(const IpAddress& vip) {
        return to_text(IpPrefix{vip, static_cast<std::uint8_t>(vip.bit_length())});
    }
    static void settle(VipRoutes& routes) {
        static VipRoutes::Time now{};
        for (int i = 0; i < 10'000 && !routes.settled(); ++i) routes.tick(now += 10ms);
        EXPECT_TRUE(routes.settled());
    }

    Netlink netlink = std::move(Netlink::open().value());
    std::vector<std::string> told;
};

TEST_F(VipRoutesInKernel, ComeAndGo) {
    VipRoutes vips = routes();
    vips.activate({ip("203.0.113.10"), ip("203.0.113.11"), ip("2001:db8::10")});
    settle(vips);
    EXPECT_TRUE(succeeds("ip route show proto 87 | grep '^203.0.113.10 dev weir0'"));
    EXPECT_TRUE(succeeds("ip -6 route show proto 87 | grep '^2001:db8::10 dev weir0'"));
    EXPECT_FALSE(succeeds("ip route show table local | grep 203.0.113")) << "never the kernel's own";
    vips.withdraw_all_but({ip("203.0.113.11")});
    settle(vips);
    EXPECT_FALSE(succeeds("ip route show proto 87 | grep 203.0.113.10"));
    EXPECT_FALSE(succeeds("ip -6 route show proto 87 | grep 2001:db8"));
    EXPECT_TRUE(succeeds("ip route show proto 87 | grep '^203.0.113.11 dev weir0'"));
    vips.withdraw_all_but({});
    settle(vips);
    EXPECT_FALSE(succeeds("ip route show proto 87 | grep ."));
    EXPECT_TRUE(told.empty());
}

TEST_F(VipRoutesInKernel, AreMadeAnewAfterTheInterfaceWasDown) {
    VipRoutes vips = routes();
    vips.activate({ip("203.0.113.10"), ip("2001:db8::10")});
    settle(vips);
    shell("ip link set weir0 down");
    EXPECT_FALSE(succeeds("ip route show proto 87 | grep 203.0.113.10")) << "that is what forget() is for";
    shell("ip link set weir0 up");
    vips.forget();
    settle(vips);
    EXPECT_TRUE(succeeds("ip route show proto 87 | grep '^203.0.113.10 dev weir0'"));
    EXPECT_TRUE(succeeds("ip -6 route show proto 87 | grep '^2001:db8::10 dev weir0'"));
    vips.withdraw_all_but({});
    settle(vips);
}

TEST_F(VipRoutesInKernel, WithdrawnWhileTheInterfaceWasDown) {
    VipRoutes vips = routes();
    vips.activate({ip("203.0.113.10")});
    settle(vips);
    shell("ip link set weir0 down");
    vips.withdraw_all_but({});
    settle(vips);
    EXPECT_TRUE(told.empty()) << "a route that is gone is withdrawn: " << told.front();
    shell("ip link set weir0 up");
}

TEST_F(VipRoutesInKernel, Many) {
    VipRoutes vips = routes();
    std::set<IpAddress> many;
    for (std::uint32_t i = 0; i < 10'000; ++i) many.insert(IpAddress(Ipv4Address{Be32(0x0a00'0000 + i)}));
    vips.activate(many);
    const auto begun = std::chrono::steady_clock::now();
    settle(vips);
    const auto tick = (std::chrono::steady_clock::now() - begun) / (many.size() / VipRoutes::kChangesATick);
    std::printf("%zu routes a tick take %.2f ms\n", VipRoutes::kChangesATick,
                std::chrono::duration<double, std::milli>(tick).count());
    EXPECT_LT(tick, 50ms);
    EXPECT_TRUE(succeeds("test $(ip route show proto 87 | wc -l) = 10000"));
}

}  // namespace
}  // namespace weir
