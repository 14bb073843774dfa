// What the configuration says of health checks and of how backends come and go.
#include "ctrl/config/read_config.h"
#include "tests/ctrl/config_testing.h"

namespace weir {
namespace {

TEST(ReadConfig, HealthAndLifecycle) {
    const auto result =
        read_lines(5,
                   "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; } ); "
                   "health_check = { protocol = \"https\"; via = \"direct\"; path = \"/h\"; host = "
                   "\"www.example.com\"; method "
                   "= \"HEAD\"; matcher = \"200,301\"; verify = true; ca_file = \"ca.pem\"; interval = "
                   "\"1s\"; timeout = "
                   "\"1s\"; passive = true; }; stickiness = { type = \"source_ip\"; duration = \"10m\"; "
                   "prefix_v4 = 24; }; "
                   "connection_termination = true; slow_start = \"0s\"; unhealthy_flows = \"keep\"; "
                   "unhealthy_draining = "
                   "\"1m\"; minimum_healthy = { count = 0; percentage = 50; action = \"withdraw\"; }; } );");
    const PoolConfig& pool = result.config ? result.config->pools.at(0) : PoolConfig{};
    ASSERT_TRUE(pool.health_check) << all_text(result.diagnostics);
    const HealthCheckConfig& check = *pool.health_check;
    EXPECT_EQ(check.protocol, ProbeProtocol::https);
    EXPECT_EQ(check.via, ProbePath::direct);
    EXPECT_EQ(check.method + " " + check.host + check.path + " " + check.matcher,
              "HEAD www.example.com/h 200,301");
    EXPECT_TRUE(check.verify && check.passive);
    EXPECT_EQ(check.ca_file, "ca.pem");
    ASSERT_TRUE(pool.stickiness);
    EXPECT_EQ(pool.stickiness->duration, std::chrono::minutes(10));
    EXPECT_EQ(pool.stickiness->prefix_v4, 24u);
    EXPECT_EQ(pool.stickiness->prefix_v6, 64u);
    EXPECT_TRUE(pool.connection_termination && pool.cross_zone);
    EXPECT_EQ(pool.unhealthy_flows, UnhealthyFlows::keep);
    EXPECT_EQ(pool.unhealthy_draining, std::chrono::minutes(1));
    EXPECT_EQ(pool.minimum_healthy.count, 0u);
    EXPECT_EQ(pool.minimum_healthy.percentage, 50u);
    EXPECT_EQ(pool.minimum_healthy.action, BelowMinimum::withdraw);
}

TEST(ReadConfig, ProbePayloads) {
    const auto check_of = [](const std::string& keys) {
        const auto result = read_lines(5,
                                       "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = "
                                       "\"10.1.0.11\"; } ); health_check = { " +
                                           keys + " }; } );");
        return result.config ? *result.config->pools.at(0).health_check : HealthCheckConfig{};
    };
    EXPECT_EQ(check_of("protocol = \"udp\"; send = \"PING\\r\\n\"; expect = \"hex:50004Fff\";").send,
              "PING\r\n");
    EXPECT_EQ(check_of("protocol = \"udp\"; send = \"PING\"; expect = \"hex:50004Fff\";").expect,
              std::string("P\0O\xff", 4));
    EXPECT_EQ(check_of("protocol = \"grpc\"; service = \"shop\";").path, "/grpc.health.v1.Health/Check");
    EXPECT_EQ(check_of("protocol = \"grpc\"; service = \"shop\";").matcher, "0");
}

}  // namespace
}  // namespace weir
