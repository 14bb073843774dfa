// What Prometheus reads: the values, the text, and the listener.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <sstream>

#include "ctrl/metrics/collect_metrics.h"
#include "ctrl/metrics/prometheus_exporter.h"
#include "ctrl/world.h"
#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

class MetricsTest : public testing::Test {
  protected:
    MetricsTest() {
        input.version = "0.1.0";
        input.dpdk_version = "DPDK 22.11";
        for (const auto worker : workers.all()) input.workers.push_back(worker);
        input.flow_capacity = {1024, 1024};
        input.sticky_capacity = {512, 512};
        input.tsc_hz = 1e9;
        PortStatistics port;
        port.name = "edge";
        port.rx_packets = 12;
        port.link_up = true;
        port.host = {.rx_packets = 21, .rx_bytes = 2'100, .rx_interface_down = 22, .tx_no_mbuf = 23};
        port.nic = {{"bw_in_allowance_exceeded", 3}, {"rx_q0 errors", 4}};
        PortStatistics vlan = port;
        vlan.name = "vlan";
        vlan.carries_device = false;
        vlan.nic.clear();
        input.ports = {port, vlan};
    }
    WorldOptions options() {
        WorldOptions result;
        result.ports = edge_facts();
        result.assigned = [this](World& to, const ConfigDelta& delta) { monitor.assigned(to, delta); };
        return result;
    }
    void apply(Config config) {
        const auto applied = world.apply(std::move(config));
        ASSERT_TRUE(applied) << applied.error().message;
        settle();
    }
    // Every worker uses the newest generation, and drains move on.
    void settle() {
        for (int i = 0; i < 3; ++i) {
            workers.take(world.generation());
            world.tick();
            monitor.tick(world);
        }
    }
    std::string text() {
        input.labels = make_metrics_labels(world);
        input.health = make_health_metrics(*input.labels, monitor, {});
        input.generation = world.generation();
        input.checksum = world.checksum();
        input.publish_durations = world.publish_durations();
        std::ostringstream out;
        prometheus::TextSerializer().Serialize(out, collect_metrics(input));
        return out.str();
    }
    // The value behind a metric's name and labels, "absent" without it.
    std::string value(const std::string& series) {
        const std::string all = "\n" + text();
        const std::size_t place = all.find("\n" + series + " ");
        if (place == std::string::npos) return "absent";
        const std::size_t begin = place + series.size() + 2;
        return all.substr(begin, all.find('\n', begin) - begin);
    }

    CountingWorkers workers{2};
    HealthMonitor monitor{{}};
    World world{options(), workers.all()};
    MetricsInput input;
};

TEST_F(MetricsTest, SumsWorkersAndNamesThings) {
    apply(web_config());
    workers[0].services[0].packets.add(10);
    workers[1].services[0].packets.add(5);
    workers[1].services[0].dropped[0].add(2);
    workers[0].backends[1].bytes.add(700);
    workers[1].backends[1].active_flows.add(4);
    workers[0].backends[1].syn_repeats.add(6);
    workers[1].backends[1].syn_repeats.add(1);
    workers[1].backends[0].client_resets.add(9);
    workers[0].drop(DropReason::no_backend);
    workers[1].drop(DropReason::no_backend);
    workers[1].busy_tsc.add(2'500'000'000);
    workers[1].flow_entries.set(77);
    workers[0].sticky_entries.set(9);
    workers[1].sticky_handed_over.add(6);
    EXPECT_EQ(value("weir_service_packets_total{service=\"web\"}"), "15");
    EXPECT_EQ(value("weir_service_dropped_packets_total{service=\"web\",reason=\"no_backend\"}"), "2");
    EXPECT_EQ(value("weir_service_dropped_packets_total{service=\"web\",reason=\"no_headroom\"}"), "0");
    EXPECT_EQ(value("weir_backend_bytes_total{pool=\"web\",backend=\"w2\"}"), "700");
    EXPECT_EQ(value("weir_backend_active_flows{pool=\"web\",backend=\"w2\"}"), "4");
    EXPECT_EQ(value("weir_backend_syn_repeats_total{pool=\"web\",backend=\"w2\"}"), "7");
    EXPECT_EQ(value("weir_backend_client_resets_total{pool=\"web\",backend=\"w1\"}"), "9");
    EXPECT_EQ(value("weir_dropped_packets_total{reason=\"no_backend\"}"), "2");
    EXPECT_EQ(value("weir_worker_busy_seconds_total{worker=\"1\"}"), "2.5");
    EXPECT_EQ(value("weir_flow_table_entries{worker=\"1\"}"), "77");
    EXPECT_EQ(value("weir_flow_table_capacity{worker=\"0\"}"), "1024");
    EXPECT_EQ(value("weir_sticky_table_entries{worker=\"0\"}"), "9");
    EXPECT_EQ(value("weir_sticky_table_capacity{worker=\"1\"}"), "512");
    EXPECT_EQ(value("weir_sticky_handed_over_total{worker=\"1\"}"), "6");
    EXPECT_EQ(value("weir_packets_in_flight{worker=\"0\"}"), "0");
    EXPECT_EQ(value("weir_port_rx_packets_total{port=\"edge\"}"), "12");
    EXPECT_EQ(value("weir_port_link_up{port=\"edge\"}"), "1");
    EXPECT_EQ(value("weir_port_link_up{port=\"vlan\"}"), "1");
    EXPECT_EQ(text().find("weir_port_rx_packets_total{port=\"vlan\"}"), std::string::npos)
        << "the device's numbers stand once";
    EXPECT_EQ(value("weir_host_rx_packets_total{port=\"edge\"}"), "21");
    EXPECT_EQ(value("weir_host_rx_bytes_total{port=\"edge\"}"), "2100");
    EXPECT_EQ(value("weir_host_rx_dropped_packets_total{port=\"edge\",reason=\"interface_down\"}"), "22");
    EXPECT_EQ(value("weir_host_tx_dropped_packets_total{port=\"edge\",reason=\"no_mbuf\"}"), "23");
    EXPECT_EQ(value("weir_nic_bw_in_allowance_exceeded_total{port=\"edge\"}"), "3");
    EXPECT_EQ(value("weir_nic_rx_q0_errors_total{port=\"edge\"}"), "4");
    EXPECT_EQ(value("weir_config_generation"), "1");
    EXPECT_EQ(value("weir_snapshot_publish_duration_seconds_count"), "1");
}

TEST_F(MetricsTest, EveryDropReasonIsThereFromTheStart) {
    apply(web_config());
    for (const std::string_view reason : kDropReasonNames)
        EXPECT_EQ(value("weir_dropped_packets_total{reason=\"" + std::string(reason) + "\"}"), "0") << reason;
}

TEST_F(MetricsTest, WhatGoesToTheKernelAndComesFromIt) {
    apply(web_config());
    for (const std::string_view name : kPuntClassNames) {
        EXPECT_EQ(value("weir_punted_packets_total{class=\"" + std::string(name) + "\"}"), "0") << name;
        EXPECT_EQ(value("weir_punt_limited_packets_total{class=\"" + std::string(name) + "\"}"), "0") << name;
    }
    workers[0].punted_by_class[static_cast<std::size_t>(PuntClass::bgp)].add(3);
    workers[1].punted_by_class[static_cast<std::size_t>(PuntClass::bgp)].add(4);
    workers[1].punt_limited[static_cast<std::size_t>(PuntClass::arp)].add(5);
    workers[0].host_tx[0].add(6);
    workers[1].host_tx_refused[0].add(7);
    workers[1].originated[0].add(8);
    EXPECT_EQ(value("weir_punted_packets_total{class=\"bgp\"}"), "7");
    EXPECT_EQ(value("weir_punt_limited_packets_total{class=\"arp\"}"), "5");
    EXPECT_EQ(value("weir_host_tx_packets_total{port=\"edge\"}"), "6");
    EXPECT_EQ(value("weir_host_tx_refused_packets_total{port=\"edge\"}"), "7");
    EXPECT_EQ(value("weir_originated_packets_total{kind=\"garp\"}"), "8");
    EXPECT_EQ(value("weir_originated_packets_total{kind=\"neighbor_advertisement\"}"), "0");
    workers[1].originated[kOriginatedRst].add(2);
    workers[1].originated_lost[kOriginatedRst].add(3);
    EXPECT_EQ(value("weir_originated_packets_total{kind=\"rst\"}"), "2");
    EXPECT_EQ(value("weir_originated_packets_lost_total{kind=\"rst\"}"), "3");
}

TEST_F(MetricsTest, BackendStates) {
    Config config = web_config();
    config.pools.push_back(pool("idle", {backend("i1", "10.1.1.11")}));
    apply(config);
    workers[0].backends[1].active_flows.add(1);  // w2 drains as long as it is there
    config.pools[0].backends.change().pop_back();
    apply(config);
    EXPECT_EQ(value("weir_backend_state{pool=\"web\",backend=\"w1\",state=\"unavailable\"}"), "1");
    EXPECT_EQ(value("weir_backend_state{pool=\"web\",backend=\"w1\",state=\"healthy\"}"), "0");
    EXPECT_EQ(value("weir_backend_state{pool=\"web\",backend=\"w2\",state=\"draining\"}"), "1");
    EXPECT_EQ(value("weir_backend_state{pool=\"idle\",backend=\"i1\",state=\"unused\"}"), "1");
    EXPECT_EQ(value("weir_pool_backends{pool=\"web\",state=\"draining\"}"), "1");
    EXPECT_EQ(value("weir_pool_backends{pool=\"web\",state=\"unavailable\"}"), "1");
    workers[0].backends[1].active_flows.subtract(1);
    settle();
    EXPECT_EQ(value("weir_backend_active_flows{pool=\"web\",backend=\"w2\"}"), "absent") << "deregistered";
}

TEST_F(MetricsTest, ANewAddressIsOneSeriesWithTheOldWhileThatDrains) {
    apply(web_config());
    workers[0].backends[1].packets.add(100);
    workers[0].backends[1].active_flows.add(1);
    Config moved = web_config();
    moved.pools[0].backends.change()[1].address = ip("10.1.1.77");
    apply(moved);
    workers[0].backends[2].packets.add(11);
    EXPECT_EQ(value("weir_backend_packets_total{pool=\"web\",backend=\"w2\"}"), "111");
    EXPECT_EQ(value("weir_backend_state{pool=\"web\",backend=\"w2\",state=\"unavailable\"}"), "1");
    EXPECT_EQ(value("weir_pool_backends{pool=\"web\",state=\"draining\"}"), "0");
}

TEST_F(MetricsTest, AReusedIdBeginsAtZero) {
    apply(web_config());
    workers[0].backends[1].packets.add(100);
    Config without = web_config();
    without.pools[0].backends.change().pop_back();
    apply(without);
    settle();
    workers.sweep(2);
    world.tick();
    ASSERT_EQ(world.ids().waiting(), 0u);
    without.pools[0].backends.change().push_back(backend("w3", "10.1.1.33"));
    apply(without);
    ASSERT_EQ(world.ids().backend_ids(), 2u) << "w3 has w2's id";
    workers[1].backends[1].packets.add(7);
    EXPECT_EQ(value("weir_backend_packets_total{pool=\"web\",backend=\"w3\"}"), "7");
}

TEST_F(MetricsTest, StatesOfManyBackendsOnlyInFullDetail) {
    Config config = web_config();
    for (unsigned i = 0; i <= kMaxDetailedBackends; ++i)
        config.pools[0].backends.change().push_back(backend("many-" + std::to_string(i), "10.1.1.11"));
    apply(config);
    EXPECT_EQ(value("weir_backend_state{pool=\"web\",backend=\"w1\",state=\"unavailable\"}"), "absent");
    EXPECT_EQ(value("weir_pool_backends{pool=\"web\",state=\"unavailable\"}"), "2003");
    config.metrics.emplace();
    config.metrics->full_detail = true;
    apply(config);
    EXPECT_EQ(value("weir_backend_state{pool=\"web\",backend=\"w1\",state=\"unavailable\"}"), "1");
}

TEST_F(MetricsTest, WhatTheKernelIsAskedForIsCounted) {
    apply(web_config());
    EXPECT_EQ(value("weir_next_hops{state=\"failed\"}"), "absent") << "no port has a host interface";
    input.kernel.emplace();
    input.kernel->hops = {.resolved = 3, .unresolved = 1, .failed = 2};
    input.kernel->resyncs = 4;
    input.kernel->changes = 5;
    input.kernel->publish_durations.record(std::chrono::milliseconds(4));
    EXPECT_EQ(value("weir_next_hops{state=\"resolved\"}"), "3");
    EXPECT_EQ(value("weir_next_hops{state=\"unresolved\"}"), "1");
    EXPECT_EQ(value("weir_next_hops{state=\"failed\"}"), "2");
    EXPECT_EQ(value("weir_netlink_resyncs_total"), "4");
    EXPECT_EQ(value("weir_netlink_changes_total"), "5");
    EXPECT_EQ(value("weir_netlink_publish_duration_seconds_count"), "1");
}

TEST_F(MetricsTest, WithoutAConfigurationThereIsStillSomethingToRead) {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, collect_metrics(input));
    EXPECT_NE(out.str().find("weir_build_info{version=\"0.1.0\",dpdk_version=\"DPDK 22.11\"} 1"),
              std::string::npos);
    EXPECT_EQ(out.str().find("weir_config_generation "), std::string::npos);
}

TEST_F(MetricsTest, PromtoolFindsNothingToSay) {
    input.kernel.emplace();
    if (std::system("command -v promtool >/dev/null") != 0)
        GTEST_SKIP() << "NOT TESTED: promtool is not here";
    Config config = web_config();
    config.pools[0].name = "na\"st\ny\\";
    config.services[0].name = "ser\"vi\nce\\";
    config.services[0].pool = config.pools[0].name;
    apply(config);
    EXPECT_EQ(value("weir_service_packets_total{service=\"ser\\\"vi\\nce\\\\\"}"), "0");
    const std::string all = text();
    FILE* promtool = popen("promtool check metrics", "w");
    ASSERT_NE(promtool, nullptr);
    EXPECT_EQ(std::fwrite(all.data(), 1, all.size(), promtool), all.size());
    EXPECT_EQ(pclose(promtool), 0) << all;
}

// A socket of the loopback; -1 if the port cannot be had.
int connect_to(int l4_port) {
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(l4_port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr generic;
    std::memcpy(&generic, &address, sizeof(generic));
    if (connect(client, &generic, sizeof(address)) == 0) return client;
    close(client);
    return -1;
}

std::string get_metrics(int l4_port) {
    const int client = connect_to(l4_port);
    if (client < 0) return {};
    const std::string request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(write(client, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::string answer;
    char buffer[4096];
    for (ssize_t got; (got = read(client, buffer, sizeof(buffer))) > 0;)
        answer.append(buffer, static_cast<std::size_t>(got));
    close(client);
    return answer;
}

TEST_F(MetricsTest, TheListenerAnswersWithTheNewestInput) {
    apply(web_config());
    auto exporter = PrometheusExporter::start("127.0.0.1:0");
    ASSERT_TRUE(exporter) << exporter.error().message;
    input.labels = make_metrics_labels(world);
    (*exporter)->update(std::make_shared<const MetricsInput>(input));
    workers[0].services[0].packets.add(42);
    EXPECT_NE(get_metrics((*exporter)->l4_port()).find("weir_service_packets_total{service=\"web\"} 42"),
              std::string::npos);
}

// civetweb alone takes up to two seconds, which would be the most of weir's end.
TEST_F(MetricsTest, TheListenerEndsAtOnce) {
    auto exporter = PrometheusExporter::start("127.0.0.1:0");
    ASSERT_TRUE(exporter) << exporter.error().message;
    const int l4_port = (*exporter)->l4_port();
    const auto begun = std::chrono::steady_clock::now();
    exporter->reset();
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
    EXPECT_EQ(connect_to(l4_port), -1);
}

TEST_F(MetricsTest, AListenerThatCannotBindSaysWhatToChange) {
    auto first = PrometheusExporter::start("127.0.0.1:0");
    ASSERT_TRUE(first);
    const std::string taken = "127.0.0.1:" + std::to_string((*first)->l4_port());
    const auto second = PrometheusExporter::start(taken);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message, taken + " is in use: change metrics.listen");
    const auto foreign = PrometheusExporter::start("192.0.2.1:9101");
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().message, "192.0.2.1:9101 is no address of this machine: change metrics.listen");
    for (const char* nonsense :
         {"", "9101", "localhost:9101", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:9101x"})
        EXPECT_FALSE(PrometheusExporter::start(nonsense)) << nonsense;
}

}  // namespace
}  // namespace weir
