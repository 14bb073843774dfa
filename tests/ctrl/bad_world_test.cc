// One mistake at a time: neighbors, routes, pools, backends, services, metrics.
#include "tests/ctrl/bad_line.h"

namespace weir {
namespace {

const std::vector<BadLine> kBadLines = {
    // neighbors and routes
    {"neighbor_incomplete",
     3,
     "neighbors = ( { address = \"10.1.0.11\"; mac = \"02:00:00:00:00:11\"; } );",
     {"neighbors[0]", "port is missing"}},
    {"neighbor_port",
     3,
     "neighbors = ( { address = \"10.1.0.11\"; mac = \"02:00:00:00:00:11\"; port = \"egde\"; } );",
     {"port \"egde\" is not in ports", "did you mean \"edge\"?"}},
    {"neighbor_mac",
     3,
     "neighbors = ( { address = \"10.1.0.11\"; mac = \"ff:ff:ff:ff:ff:ff\"; port = \"edge\"; } );",
     {"multicast"}},
    {"neighbor_own",
     3,
     "neighbors = ( { address = \"10.1.0.2\"; mac = \"02:00:00:00:00:11\"; port = \"edge\"; } );",
     {"weir's own address on port \"edge\""}},
    {"neighbor_twice",
     3,
     "neighbors = ( { address = \"10.1.0.11\"; mac = \"02:00:00:00:00:11\"; port = \"edge\"; },\n{ address = "
     "\"10.1.0.11\"; mac = \"02:00:00:00:00:12\"; port = \"edge\"; } );",
     {"10.1.0.11 stands twice", "bad.cfg:3"},
     4},
    {"route_prefix",
     4,
     "routes = ( { prefix = \"0.0.0.0\"; via = \"10.1.0.11\"; port = \"edge\"; } );",
     {"prefix is \"0.0.0.0\"", "ADDRESS/LENGTH"}},
    {"route_host_bits",
     4,
     "routes = ( { prefix = \"10.9.0.1/16\"; via = \"10.1.0.11\"; port = \"edge\"; } );",
     {"did you mean 10.9.0.0/16?"}},
    {"route_off_link",
     4,
     "routes = ( { prefix = \"0.0.0.0/0\"; via = \"10.2.0.1\"; port = \"edge\"; } );",
     {"via 10.2.0.1 is off-link"}},
    {"route_via_self",
     4,
     "routes = ( { prefix = \"0.0.0.0/0\"; via = \"10.1.0.2\"; port = \"edge\"; } );",
     {"weir itself"}},
    {"route_family",
     4,
     "routes = ( { prefix = \"::/0\"; via = \"10.1.0.11\"; port = \"edge\"; } );",
     {"other family"}},
    {"route_port",
     4,
     "routes = ( { prefix = \"0.0.0.0/0\"; via = \"10.1.0.11\"; port = \"core\"; } );",
     {"port \"core\" is not in ports"}},
    // pools
    {"pool_hash", 5, in_pool("hash = \"sourceip\";"), {"did you mean \"source_ip\"?"}},
    {"table_size_not_prime", 5, in_pool("table_size = 65536;"), {"table_size 65536 is not prime", "65537"}},
    {"table_size_large", 5, in_pool("table_size = 16777214;"), {"3 to 16,777,213"}},
    {"deregistration_delay", 5, in_pool("deregistration_delay = 300;"), {"without a unit"}},
    {"pool_mode_not_built",
     5,
     in_pool("forwarding = \"gre\";"),
     {"pool \"web\"", "\"gre\" is not built yet", "\"dsr\", \"ipip\", \"gue\""}},
    {"minimum_healthy",
     5,
     in_pool("minimum_healthy = { count = -1; };"),
     {"minimum_healthy", "count is -1", "0 to 65,535"}},
    {"minimum_percentage",
     5,
     in_pool("minimum_healthy = { percentage = 101; };"),
     {"percentage is 101", "0 to 100"}},
    {"minimum_action",
     5,
     in_pool("minimum_healthy = { action = \"fail_opn\"; };"),
     {"did you mean \"fail_open\"?"}},
    {"cross_zone_without_zone",
     5,
     in_pool("cross_zone = false;"),
     {"pool \"web\": cross_zone = false", "its own zone", "zone = \"...\""}},
    {"slow_start", 5, in_pool("slow_start = \"2h\";"), {"slow_start is \"2h\"", "\"1h\""}},
    {"unhealthy_flows", 5, in_pool("unhealthy_flows = \"kepp\";"), {"did you mean \"keep\"?", "\"reset\""}},
    {"unhealthy_draining",
     5,
     in_pool("unhealthy_draining = \"10s\";"),
     {"unhealthy_draining means something only beside unhealthy_flows = \"keep\""}},
    {"client_address",
     5,
     in_pool("client_address = \"proxy_v3\";"),
     {"client_address", "\"proxy_v3\"", "\"none\", \"proxy_v1\", \"proxy_v2\", \"toa\""}},
    {"client_address_without_nat",
     5,
     in_pool("client_address = \"proxy_v2\";"),
     {"pool \"web\"", "\"proxy_v2\" means nothing in mode \"dsr\" (service \"web\", backend \"a\")",
      "forwarding = \"nat\""}},
    {"pool_name_twice",
     5,
     "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; } ); },\n{ name = "
     "\"web\"; } );",
     {"the name is taken by bad.cfg:5", "pools are unique"},
     6},
    // health checks
    {"check_without_protocol", 5, in_check("port = 80;"), {"health_check", "protocol is missing"}},
    {"check_protocol", 5, in_check("protocol = \"htp\";"), {"did you mean \"http\"?", "\"icmp\""}},
    {"check_timeout",
     5,
     in_check("protocol = \"tcp\"; interval = \"1s\"; timeout = \"2s\";"),
     {"timeout is \"2s\", longer than interval, \"1s\""}},
    {"check_threshold",
     5,
     in_check("protocol = \"tcp\"; healthy_threshold = 0;"),
     {"healthy_threshold is 0", "1 to 100"}},
    {"check_matcher",
     5,
     in_check("protocol = \"http\"; matcher = \"200-99\";"),
     {"matcher has \"200-99\"", "codes 100 to 599"}},
    {"check_path",
     5,
     in_check("protocol = \"http\"; path = \"index\";"),
     {"path is \"index\"", "beginning with /"}},
    {"check_path_for_tcp",
     5,
     in_check("protocol = \"tcp\"; path = \"/\";"),
     {"path means nothing to protocol \"tcp\""}},
    {"check_port_for_icmp", 5, in_check("protocol = \"icmp\"; port = 80;"), {"port means nothing"}},
    {"check_send_for_tcp",
     5,
     in_check("protocol = \"tcp\"; send = \"PING\";"),
     {"send means nothing to protocol \"tcp\"", "use udp"}},
    {"check_udp_without_send", 5, in_check("protocol = \"udp\";"), {"send is missing"}},
    {"check_hex",
     5,
     in_check("protocol = \"udp\"; send = \"hex:0\";"),
     {"send is \"hex:0\"", "pairs of hexadecimal"}},
    {"check_head_with_body",
     5,
     in_check("protocol = \"http\"; method = \"HEAD\"; body = \"OK\";"),
     {"body stands beside method = \"HEAD\""}},
    {"check_ca_file",
     5,
     in_check("protocol = \"https\"; ca_file = \"ca.pem\";"),
     {"ca_file means nothing without verify = true"}},
    {"check_icmp_via_vip",
     5,
     in_check("protocol = \"icmp\"; via = \"vip\";"),
     {"via = \"vip\" means nothing"}},
    {"check_via_vip_without_host_interface",
     5,
     in_check("protocol = \"tcp\"; via = \"vip\";"),
     {"pool \"web\": health_check: via = \"vip\" needs a port with a host_interface", "via = \"direct\""}},
    {"check_host", 5, in_check("protocol = \"http\"; host = \"a b\";"), {"host is \"a b\"", "a host name"}},
    // backends
    {"backend_without_address", 5, in_backend(""), {"backend \"a\"", "address is missing"}},
    {"backend_address",
     5,
     in_backend("address = \"10.1.0.300\";"),
     {"address is \"10.1.0.300\"", "IPv4 or IPv6"}},
    {"backend_name_twice",
     5,
     "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; },\n{ name = \"a\"; "
     "address = \"10.1.0.12\"; } ); } );",
     {"backend \"a\"", "taken by bad.cfg:5", "in their pool"},
     6},
    {"backend_port_0", 5, in_backend("address = \"10.1.0.11\"; port = 0;"), {"port is 0", "1 to 65,535"}},
    {"backend_port_65536",
     5,
     in_backend("address = \"10.1.0.11\"; port = 65536;"),
     {"port is 65536", "1 to 65,535"}},
    {"weight_negative",
     5,
     in_backend("address = \"10.1.0.11\"; weight = -1;"),
     {"weight is -1", "0 to 1,000"}},
    {"weight_large",
     5,
     in_backend("address = \"10.1.0.11\"; weight = 1001;"),
     {"weight is 1001", "0 to 1,000"}},
    {"backend_zero", 5, in_backend("address = \"0.0.0.0\";"), {"0.0.0.0/8", "a server's address"}},
    {"backend_loopback", 5, in_backend("address = \"127.0.0.1\";"), {"loopback"}},
    {"backend_multicast", 5, in_backend("address = \"239.1.2.3\";"), {"multicast"}},
    {"backend_broadcast", 5, in_backend("address = \"255.255.255.255\";"), {"broadcast"}},
    {"backend_subnet_broadcast",
     5,
     in_backend("address = \"10.1.0.255\";"),
     {"broadcast address of 10.1.0.2/24"}},
    {"backend_v6_unspecified", 5, in_backend("address = \"::\";"), {"unspecified"}},
    {"backend_v6_loopback", 5, in_backend("address = \"::1\";"), {"loopback"}},
    {"backend_v6_multicast", 5, in_backend("address = \"ff02::1\";"), {"multicast"}},
    {"backend_mapped", 5, in_backend("address = \"::ffff:10.1.0.11\";"), {"IPv4-mapped"}},
    {"backend_own_address", 5, in_backend("address = \"10.1.0.2\";"), {"weir's own", "port \"edge\""}},
    {"backend_is_vip", 5, in_backend("address = \"203.0.113.10\";"), {"VIP of service \"web\" (bad.cfg:6)"}},
    {"backend_off_link_dsr", 5, in_backend("address = \"10.2.0.11\";"), {"off-link", "dsr", "\"gue\""}},
    {"backend_mode",
     5,
     in_backend("address = \"10.1.0.11\"; forwarding = \"drs\";"),
     {"did you mean \"dsr\"?"}},
    {"backend_mode_not_built",
     5,
     in_backend("address = \"10.1.0.11\"; forwarding = \"geneve\";"),
     {"\"geneve\" is not built yet"}},
    {"tunnel_without_source",
     5,
     in_backend("address = \"fd00::11\"; forwarding = \"gue\";"),
     {"no IPv6 address", "mode gue", "outer source", "bad.cfg:5"},
     2},
    // services
    {"service_incomplete",
     6,
     "services = ( { name = \"web\"; vip = \"203.0.113.10\"; port = 80; forwarding = \"dsr\"; pool = "
     "\"web\"; } );",
     {"service \"web\"", "protocol is missing"}},
    {"vip_text", 6, services(service("web", "203.0.113", "80")), {"vip is \"203.0.113\""}},
    {"vip_zero", 6, services(service("web", "0.0.0.0", "80")), {"vip 0.0.0.0", "clients can dial"}},
    {"vip_multicast", 6, services(service("web", "224.0.0.1", "80")), {"multicast"}},
    {"vip_loopback", 6, services(service("web", "127.0.0.1", "80")), {"loopback"}},
    {"vip_broadcast", 6, services(service("web", "255.255.255.255", "80")), {"broadcast"}},
    {"vip_v6_unspecified", 6, services(service("web", "::", "80")), {"unspecified"}},
    {"vip_mapped", 6, services(service("web", "::ffff:203.0.113.10", "80")), {"IPv4-mapped"}},
    {"vip_own_address",
     6,
     services(service("web", "10.1.0.2", "80")),
     {"also an address of port \"edge\"", "no host_interface"}},
    {"protocol",
     6,
     "services = ( { name = \"web\"; vip = \"203.0.113.10\"; protocol = \"sctp\"; port = 80; forwarding = "
     "\"dsr\"; pool = \"web\"; } );",
     {"protocol is \"sctp\"", "\"udp\""}},
    {"protocol_twice",
     6,
     "services = ( { name = \"web\"; vip = \"203.0.113.10\"; protocol = [ \"tcp\", \"tcp\" ]; port = 80; "
     "forwarding = \"dsr\"; pool = \"web\"; } );",
     {"\"tcp\" twice"}},
    {"port_0", 6, services(service("web", "203.0.113.10", "0")), {"port has \"0\"", "1 to 65,535"}},
    {"port_65536",
     6,
     services(service("web", "203.0.113.10", "65536")),
     {"port has \"65536\"", "1 to 65,535"}},
    {"port_text", 6, services(service("web", "203.0.113.10", "\"80,\"")), {"port has \"\"", "8000-8099"}},
    {"port_backwards", 6, services(service("web", "203.0.113.10", "\"90-80\"")), {"port has \"90-80\""}},
    {"port_bool",
     6,
     services(service("web", "203.0.113.10", "true")),
     {"port is neither a number nor a text"}},
    {"port_any_in_list", 6, services(service("web", "203.0.113.10", "( \"any\", 80 )")), {"stands alone"}},
    {"port_twice", 6, services(service("web", "203.0.113.10", "\"80,80\"")), {"port has 80 twice"}},
    {"ranges_overlap_within",
     6,
     services(service("web", "203.0.113.10", "\"80-90,85-95\"")),
     {"port has 85-90 twice"}},
    {"pool_unknown",
     6,
     "services = ( { name = \"web\"; vip = \"203.0.113.10\"; protocol = \"tcp\"; port = 80; forwarding = "
     "\"dsr\"; pool = \"wbe\"; } );",
     {"pool \"wbe\" is not in pools", "did you mean \"web\"?"}},
    {"default_mode",
     6,
     services(service("web", "203.0.113.10", "80", "")),
     {"no IPv4 address in snat", "nat (the default)", "\"dsr\", \"ipip\" or \"gue\""},
     2},
    {"nat64_by_dnat",
     6,
     services(service("web", "203.0.113.10", "80", "forwarding = \"ipip\";") + ",\n" +
              service("six", "2001:db8::10", "80", "forwarding = \"dnat\";")),
     {"pool \"web\": backend \"a\"", "mode dnat cannot translate service \"six\"", "NAT64"},
     5},
    {"nat46",
     5,
     in_backend("address = \"fd00::11\"; forwarding = \"nat\";"),
     {"mode nat cannot translate", "of the VIP's family"}},
    {"nat64_without_source",
     6,
     services(service("web", "2001:db8::10", "80", "forwarding = \"nat\";")),
     {"no IPv4 address in snat"},
     2},
    {"mode_geneve",
     6,
     services(service("web", "203.0.113.10", "80", "forwarding = \"geneve\";")),
     {"\"geneve\" is not built yet"}},
    {"mode_unknown",
     6,
     services(service("web", "203.0.113.10", "80", "forwarding = \"ipipp\";")),
     {"did you mean \"ipip\"?"}},
    {"security",
     6,
     services(service("web", "203.0.113.10", "80", "forwarding = \"dsr\"; security = { };")),
     {"security is not built yet"}},
    {"service_name_twice",
     6,
     services(service("web", "203.0.113.10", "80") + ",\n" + service("web", "203.0.113.11", "80")),
     {"taken by bad.cfg:6"},
     7},
    {"exact_overlap",
     6,
     services(service("web", "203.0.113.10", "80") + ",\n" + service("w2", "203.0.113.10", "\"79,80\"")),
     {"203.0.113.10 tcp port 80 is taken by service \"web\" (bad.cfg:6)"},
     7},
    {"range_overlap",
     6,
     services(service("web", "203.0.113.10", "\"80-90\"") + ",\n" +
              service("w2", "203.0.113.10", "\"90-99\"")),
     {"port 90 is taken"},
     7},
    {"any_overlap",
     6,
     services(service("web", "203.0.113.10", "\"any\"") + ",\n" + service("w2", "203.0.113.10", "\"any\"")),
     {"port any is taken"},
     7},
    // metrics, control
    {"listen_v6", 7, "metrics = { listen = \"[::1]:9101\"; };", {"listen is \"[::1]:9101\"", "IPV4:PORT"}},
    {"listen_without_port", 7, "metrics = { listen = \"127.0.0.1\"; };", {"IPV4:PORT"}},
    {"listen_port", 7, "metrics = { listen = \"127.0.0.1:65536\"; };", {"IPV4:PORT"}},
    {"detail", 7, "metrics = { detail = \"ful\"; };", {"did you mean \"full\"?"}},
    {"control_socket",
     8,
     "control = { socket = \"control.sock\"; };",
     {"socket is \"control.sock\"", "an absolute path"}},
    {"control_state",
     8,
     "control = { state_directory = \"\"; };",
     {"state_directory is \"\"", "an absolute path"}},
};

class BadWorld : public ::testing::TestWithParam<BadLine> {};

// A port with a host interface, the pool web checked through the VIP, and the services.
ConfigResult with_via_vip(const std::string& services_line, const std::string& more_of_pool = "") {
    const std::string text =
        in_port("host_interface = \"weir0\";") + "\n" +
        in_pool("health_check = { protocol = \"http\"; via = \"vip\"; }; " + more_of_pool) + "\n" +
        services_line;
    return read_config_text(text, "bad.cfg");
}

// What is said of the key `via`, all of it.
std::string said_of_via(const ConfigResult& result) {
    std::string said;
    for (const Diagnostic& one : result.diagnostics)
        if (one.message.find("via = \"vip\"") != std::string::npos) said += one.text() + "\n";
    return said;
}

TEST(ViaVip, IsTakenWhereTrafficGoesByTheVip) {
    for (const char* mode : {"dsr", "ipip", "gue"}) {
        const auto good = with_via_vip(services(
            service("web", "203.0.113.10", "80", "forwarding = \"" + std::string(mode) + "\";") + ",\n" +
            service("w2", "203.0.113.11", "80", "forwarding = \"" + std::string(mode) + "\";")));
        EXPECT_TRUE(good.config) << all_text(good.diagnostics);
        EXPECT_EQ(said_of_via(good), "");
    }
    EXPECT_EQ(said_of_via(with_via_vip("")), "") << "a pool that nobody uses is not probed";
}

TEST(ViaVip, MeansNothingWhereServersGetTheirOwnAddress) {
    const auto nat = with_via_vip(services(service("web", "203.0.113.10", "80", "")));
    EXPECT_FALSE(nat.config);
    EXPECT_NE(
        said_of_via(nat).find("bad.cfg:2: pool \"web\": health_check: via = \"vip\" means nothing in mode "
                              "\"nat\" (backend \"a\")"),
        std::string::npos)
        << all_text(nat.diagnostics);
    EXPECT_NE(said_of_via(nat).find("allowed: \"direct\", or forwarding = \"dsr\", \"ipip\""),
              std::string::npos);
    const auto overridden =
        with_via_vip(services(service("web", "203.0.113.10", "80", "")), "forwarding = \"gue\";");
    EXPECT_TRUE(overridden.config) << all_text(overridden.diagnostics);
}

TEST(ViaVip, SeesTheFirstServicesWayAlone) {
    const auto modes =
        with_via_vip(services(service("web", "203.0.113.10", "80", "forwarding = \"ipip\";") + ",\n" +
                              service("w2", "203.0.113.11", "80", "forwarding = \"gue\";")));
    EXPECT_TRUE(modes.config) << all_text(modes.diagnostics);
    EXPECT_NE(said_of_via(modes).find(
                  "sees the way of service \"web\" alone, and the mode of service \"w2\" is another"),
              std::string::npos)
        << all_text(modes.diagnostics);
    const auto families =
        with_via_vip(services(service("web", "203.0.113.10", "80", "forwarding = \"ipip\";") + ",\n" +
                              service("w2", "2001:db8::11", "80", "forwarding = \"ipip\";")));
    EXPECT_NE(said_of_via(families).find("the address family of service \"w2\" is another"),
              std::string::npos)
        << all_text(families.diagnostics);
}

TEST_P(BadWorld, IsRefusedAtItsLineWithWhatIsAllowed) { expect_refused(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Lines, BadWorld, ::testing::ValuesIn(kBadLines), kind_of);

}  // namespace
}  // namespace weir
