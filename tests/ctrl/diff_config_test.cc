#include "ctrl/config/diff_config.h"

#include "tests/ctrl/config_testing.h"

namespace weir {
namespace {

using Sentences = std::vector<std::string>;

Config config_with(std::size_t line = 0, std::string_view replacement = "") {
    auto result = read_config_text(good_text_but(line, replacement), "a.cfg");
    EXPECT_TRUE(result.config) << all_text(result.diagnostics);
    return result.config ? std::move(*result.config) : Config();
}

TEST(DiffConfig, EqualConfigurationsHaveNone) {
    Config moved = config_with();
    moved.services[0].where.line = 99;
    EXPECT_TRUE(diff_config(config_with(), moved).empty());
}

TEST(DiffConfig, NamesChangesOfBackendsAndServices) {
    const Config before = config_with(5, R"(pools = ( { name = "web"; backends = (
        { name = "a"; address = "10.1.0.11"; }, { name = "b"; address = "10.1.0.12"; }, { name = "c"; address = "10.1.0.13"; } ); } );)");
    const Config after = config_with(5, R"(pools = ( { name = "web"; hash = "source_ip"; backends = (
        { name = "d"; address = "10.1.0.14"; weight = 2; }, { name = "c"; address = "10.1.0.15"; }, { name = "a"; address = "10.1.0.11"; weight = 5; } ); } );)");
    const ConfigDiff diff = diff_config(before, after);
    EXPECT_EQ(
        diff.changes,
        (Sentences{
            "pool web: hash five_tuple -> source_ip", "pool web: backend b removed",
            "pool web: backend d added (10.1.0.14, weight 2)",
            "pool web: backend c: address 10.1.0.13 -> 10.1.0.15 (a new backend; the old address is drained)",
            "pool web: backend a: weight 1 -> 5"}));
    EXPECT_TRUE(diff.needs_restart.empty());
    const ConfigDiff added = diff_config(config_with(6, "services = ( );"), config_with());
    EXPECT_EQ(added.changes, Sentences{"service web added (203.0.113.10 tcp port 80 -> pool web)"});
    EXPECT_EQ(diff_config(config_with(), config_with(6, "services = ( );")).changes,
              Sentences{"service web removed"});
    Config named = config_with();
    named.pools[0].client_address = ClientIdentity::proxy_v1;
    EXPECT_EQ(diff_config(config_with(), named).changes,
              Sentences{"pool web: client_address none -> proxy_v1"});
    EXPECT_EQ(diff_config(config_with(), config_with(8, "timeouts = { udp = \"1m\"; };")).changes,
              Sentences{"timeouts: udp 2m -> 1m"});
    EXPECT_EQ(
        diff_config(config_with(), config_with(8, "timeouts = { nat_tcp_time_wait = \"2m\"; };")).changes,
        Sentences{"timeouts: nat_tcp_time_wait 1m -> 2m"});
}

TEST(DiffConfig, NamesWhatNeedsARestart) {
    EXPECT_EQ(diff_config(config_with(), config_with(1, "dataplane = { workers = 2; };")).needs_restart,
              Sentences{"dataplane.workers: 1 -> 2"});
    EXPECT_EQ(diff_config(config_with(), config_with(7, "metrics = { listen = \"127.0.0.1:9102\"; };"))
                  .needs_restart,
              Sentences{"metrics.listen: 127.0.0.1:9101 -> 127.0.0.1:9102"});
    EXPECT_TRUE(diff_config(config_with(), config_with(7, "")).empty()) << "absent means the defaults";
    const ConfigDiff port = diff_config(
        config_with(),
        config_with(
            2,
            R"(ports = ( { name = "edge"; device = "net_null1"; addresses = [ "10.1.0.3/24" ]; mtu = 1700; } );)"));
    EXPECT_EQ(port.needs_restart, (Sentences{"port edge: device net_null0 -> net_null1",
                                             "port edge: addresses [10.1.0.2/24] -> [10.1.0.3/24]",
                                             "port edge: mtu 1600 -> 1700"}));
    EXPECT_TRUE(port.changes.empty());
    Config vlan = config_with(), qinq = config_with();
    vlan.ports[0].vlan = {100};
    qinq.ports[0].vlan = {100, 10};
    EXPECT_EQ(diff_config(config_with(), vlan).needs_restart, Sentences{"port edge: vlan 0 -> 100"});
    EXPECT_EQ(diff_config(vlan, qinq).needs_restart, Sentences{"port edge: vlan 100 -> [ 100, 10 ]"});
    Config twin = config_with();
    twin.ports[0].host_interface = "weir0";
    EXPECT_EQ(diff_config(config_with(), twin).needs_restart,
              Sentences{"port edge: host_interface none -> weir0"});
    Config two = config_with();
    two.ports.push_back(two.ports[0]);
    two.ports[1].name = "b";
    EXPECT_EQ(diff_config(config_with(), two).needs_restart, Sentences{"port b: added (net_null0)"});
    Config exchanged = two;
    std::swap(exchanged.ports[0], exchanged.ports[1]);
    EXPECT_EQ(diff_config(two, exchanged).needs_restart, Sentences{"ports: order [edge, b] -> [b, edge]"});
}

}  // namespace
}  // namespace weir
