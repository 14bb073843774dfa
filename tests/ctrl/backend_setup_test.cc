#include "ctrl/backend_setup.h"

#include <gtest/gtest.h>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

constexpr const char* kVip6 = "2001:db8:203::10";

// Pool "web" of one backend, dialled at an IPv4 and an IPv6 VIP.
Config both_families(ForwardingMode mode, std::string_view address) {
    Config config = edge_config();
    config.file = "weir.cfg";
    config.pools = {pool("web", {backend("w1", address)})};
    config.services = {service("web4", "203.0.113.10", "web", mode), service("web6", kVip6, "web", mode)};
    return config;
}

std::string setup(const Config& config, std::string_view name = "web/w1") {
    return backend_setup_script(config, name).value();
}
std::string undo(const Config& config, std::string_view name = "web/w1") {
    return backend_undo_script(config, name).value();
}

bool has_line(const std::string& script, const std::string& line) {
    return ("\n" + script).find("\n" + line + "\n") != std::string::npos;
}
// The lines that do something.
std::size_t commands(const std::string& script) {
    std::size_t count = 0;
    for (std::size_t at = 0; at < script.size(); at = script.find('\n', at) + 1)
        count += script[at] != '#' && script[at] != '\n' ? 1 : 0;
    return count;
}

TEST(BackendSetup, DnatNeedsARouteAndNoCommand) {
    Config config = both_families(ForwardingMode::dnat, "10.1.1.11");
    config.services.pop_back();
    const std::string script = setup(config);
    EXPECT_TRUE(has_line(script, "#   ip route replace default via 10.1.0.2")) << script;
    EXPECT_EQ(commands(script), 0u) << script;
    EXPECT_EQ(script.find("nothing to do"), std::string::npos);
}

TEST(BackendSetup, DsrHoldsTheVipsOnLoAndIsSilent) {
    const std::string script = setup(both_families(ForwardingMode::dsr, "10.1.1.11"));
    EXPECT_TRUE(script.starts_with("#!/bin/sh\n")) << script;
    EXPECT_TRUE(has_line(script, "#   service web4: VIP 203.0.113.10, forwarding dsr")) << script;
    EXPECT_TRUE(has_line(script, "sysctl -w net.ipv4.conf.all.arp_ignore=1"));
    EXPECT_TRUE(has_line(script, "sysctl -w net.ipv4.conf.all.arp_announce=2"));
    EXPECT_TRUE(has_line(script, "ip address replace 203.0.113.10/32 dev lo"));
    EXPECT_TRUE(has_line(script, "ip -6 address replace 2001:db8:203::10/128 dev lo nodad preferred_lft 0"));
    EXPECT_LT(script.find("arp_ignore"), script.find("address replace")) << "silent before there is a VIP";
    EXPECT_EQ(commands(script), 5u) << script;  // set -eu too
}

TEST(BackendSetup, OverIpv4EachFamilyHasItsDevice) {
    const std::string script = setup(both_families(ForwardingMode::ipip, "10.1.1.11"));
    EXPECT_NE(script.find("ip link add name weir-ipip type ipip local 10.1.1.11\n"), std::string::npos)
        << script;
    EXPECT_NE(script.find("ip link add name weir-sit type sit local 10.1.1.11\n"), std::string::npos);
    EXPECT_TRUE(has_line(script, "sysctl -w net.ipv4.conf.weir-ipip.rp_filter=2"));
    EXPECT_EQ(script.find("weir-sit.rp_filter"), std::string::npos) << "IPv6 has no rp_filter";
    EXPECT_TRUE(has_line(script, "ip address replace 203.0.113.10/32 dev weir-ipip"))
        << "rp_filter 2 takes nothing on a device without an IPv4 address";
    EXPECT_TRUE(
        has_line(script, "ip -6 address replace 2001:db8:203::10/128 dev weir-sit nodad preferred_lft 0"));
    EXPECT_EQ(script.find("fou"), std::string::npos);
}

TEST(BackendSetup, OverIpv6OneDeviceTakesBothFamilies) {
    const std::string script = setup(both_families(ForwardingMode::gue, "fd00:1::11"));
    EXPECT_NE(script.find("ip link add name weir-ip6tnl type ip6tnl mode any local fd00:1::11\n"),
              std::string::npos)
        << script;
    EXPECT_EQ(script.find("ip6tnl mode any", script.find("ip6tnl mode any") + 1), std::string::npos)
        << "the kernel refuses a second one with the same address";
    EXPECT_TRUE(
        has_line(script, "ip fou show | grep -qx 'port 6080 gue -6 *' || ip -6 fou add port 6080 gue"));
    EXPECT_LT(script.find("link set dev weir-ip6tnl up"), script.find("fou add"));
}

TEST(BackendSetup, GueOverIpv4) {
    const std::string script = setup(both_families(ForwardingMode::gue, "10.1.1.11"));
    EXPECT_TRUE(has_line(script, "ip fou show >/dev/null 2>&1 || modprobe fou")) << script;
    EXPECT_TRUE(has_line(script, "ip fou show | grep -qx 'port 6080 gue *' || ip fou add port 6080 gue"));
}

// mtu - outer IP (- UDP - GUE) - IP - TCP
TEST(BackendSetup, SegmentsFitTheTunnel) {
    const auto sizes = [](ForwardingMode mode, std::string_view address, std::uint16_t mtu) {
        Config config = both_families(mode, address);
        config.ports[0].mtu = mtu;
        const std::string script = setup(config);
        const auto after = [&](const std::string& rule) {
            const std::size_t at = script.find(rule + " tcp flags & syn == syn tcp option maxseg size set ");
            return at == std::string::npos ? -1 : std::stoi(script.substr(at + rule.size() + 51));
        };
        return std::pair{after("ip saddr 203.0.113.10"), after("ip6 saddr 2001:db8:203::10")};
    };
    EXPECT_EQ(sizes(ForwardingMode::ipip, "10.1.1.11", 1500), std::pair(1440, 1420));
    EXPECT_EQ(sizes(ForwardingMode::ipip, "fd00:1::11", 1500), std::pair(1420, 1400));
    EXPECT_EQ(sizes(ForwardingMode::gue, "10.1.1.11", 1500), std::pair(1428, 1408));
    EXPECT_EQ(sizes(ForwardingMode::gue, "fd00:1::11", 9001), std::pair(8909, 8889));
    EXPECT_EQ(sizes(ForwardingMode::gue, "10.1.1.11", 68), std::pair(88, 88)) << "as low as Linux takes it";
    EXPECT_EQ(sizes(ForwardingMode::dsr, "10.1.1.11", 1500), std::pair(-1, -1));
}

TEST(BackendSetup, MtuIsThatOfThePortThatLeadsThere) {
    Config config = both_families(ForwardingMode::ipip, "10.9.0.11");
    PortConfig inner;
    inner.name = "inner";
    inner.addresses = {prefix("10.9.0.2/24")};
    inner.mtu = 1400;
    config.ports.push_back(inner);
    EXPECT_NE(setup(config).find("port inner takes (mtu 1400)"), std::string::npos);
    config.ports.back().addresses.clear();
    config.routes.clear();
    EXPECT_NE(setup(config).find("port inner takes (mtu 1400)"), std::string::npos)
        << "none: the smallest MTU";
}

TEST(BackendSetup, BackendOverridesPoolOverridesService) {
    Config config = web_config(ForwardingMode::gue);
    BackendConfig own = backend("w2", "10.1.1.12");
    own.forwarding = ForwardingMode::dsr;
    PoolConfig web = pool("web", {backend("w1", "10.1.1.11"), own});
    web.forwarding = ForwardingMode::ipip;
    config.pools = {web};
    EXPECT_NE(setup(config, "web/w1").find("forwarding ipip"), std::string::npos);
    EXPECT_EQ(setup(config, "web/w1").find("fou"), std::string::npos);
    EXPECT_TRUE(has_line(setup(config, "web/w2"), "ip address replace 203.0.113.10/32 dev lo"));
}

TEST(BackendSetup, ServicesOfOtherPoolsAreNotItsMatter) {
    Config config = web_config(ForwardingMode::dsr);
    config.pools.push_back(pool("idle", {backend("w1", "10.1.1.11")}));
    const std::string script = setup(config, "idle/w1");
    EXPECT_TRUE(
        has_line(script, "# No service uses pool idle in a mode that needs anything here: nothing to do."))
        << script;
    EXPECT_EQ(commands(script), 0u);
    EXPECT_EQ(commands(undo(config, "idle/w1")), 0u);
}

TEST(BackendSetup, UndoTakesAllOfItBack) {
    const std::string dsr = undo(both_families(ForwardingMode::dsr, "10.1.1.11"));
    EXPECT_TRUE(
        has_line(dsr,
                 "[ -z \"$(ip address show dev lo to 203.0.113.10/32 2>/dev/null)\" ] || ip address del "
                 "203.0.113.10/32 dev lo"))
        << dsr;
    EXPECT_EQ(dsr.find("arp_ignore=0"), std::string::npos) << "another VIP may need it";
    const std::string gue = undo(both_families(ForwardingMode::gue, "fd00:1::11"));
    EXPECT_NE(gue.find("ip -6 fou del port 6080"), std::string::npos) << gue;
    EXPECT_NE(gue.find("ip link del dev weir-ip6tnl"), std::string::npos);
    EXPECT_TRUE(
        has_line(gue, "nft 'table inet weir_2001_db8_203__10; delete table inet weir_2001_db8_203__10'"));
}

TEST(BackendSetup, UndoLeavesWhatTheServerNeedsElsewhere) {
    Config config = both_families(ForwardingMode::gue, "10.1.1.11");
    config.pools.push_back(pool("mail", {backend("m1", "10.1.1.11")}));
    config.services.push_back(service("mail", "203.0.113.25", "mail", ForwardingMode::gue, 25));
    config.services.push_back(service("web4tls", "203.0.113.10", "mail", ForwardingMode::gue, 443));
    const std::string script = undo(config);
    EXPECT_EQ(script.find("fou del"), std::string::npos) << script;
    EXPECT_EQ(script.find("link del dev weir-ipip"), std::string::npos);
    EXPECT_NE(script.find("link del dev weir-sit"), std::string::npos);
    EXPECT_EQ(script.find("203.0.113.10/32"), std::string::npos) << "a VIP of both pools";
    EXPECT_EQ(script.find("weir_203.0.113.10"), std::string::npos);
}

TEST(BackendSetup, UnknownNamesSayWhatThereIs) {
    const auto message = [](const Config& config, std::string_view name) {
        const auto script = backend_setup_script(config, name);
        EXPECT_FALSE(script);
        EXPECT_EQ(script.error().cause, Error::Cause::operator_mistake);
        return script.error().message;
    };
    Config config = web_config(ForwardingMode::dsr);
    config.file = "weir.cfg";
    EXPECT_EQ(message(config, "wbe/w1"), "weir.cfg has no pool \"wbe\"; it has: web");
    EXPECT_EQ(message(config, "web/w3"), "weir.cfg: pool \"web\" has no backend \"w3\"; it has: w1, w2");
    EXPECT_NE(message(config, "web").find("write POOL/NAME"), std::string::npos);
    std::vector<BackendConfig> many;
    for (int i = 0; i < 100; ++i) many.push_back(backend("b" + std::to_string(i), "10.1.1.11"));
    config.pools = {pool("web", many)};
    EXPECT_EQ(
        message(config, "web/w3"),
        "weir.cfg: pool \"web\" has no backend \"w3\"; it has: b0, b1, b2, b3, b4, b5, b6, b7 and 92 more");
    config.pools.clear();
    EXPECT_EQ(message(config, "web/w3"), "weir.cfg has no pool \"web\"; it has: none");
}

}  // namespace
}  // namespace weir
