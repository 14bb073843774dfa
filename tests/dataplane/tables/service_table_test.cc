#include "dataplane/tables/service_table.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/dataplane/figure.h"

namespace weir {
namespace {

IpAddress v4(std::uint32_t address) { return IpAddress(Ipv4Address{Be32(address)}); }
IpAddress v6(std::uint64_t low) {
    Ipv6Address address{};
    address.bytes[0] = 0x20;
    for (std::size_t i = 0; i < 8; ++i) address.bytes[15 - i] = static_cast<std::uint8_t>(low >> (8 * i));
    return IpAddress(address);
}

ServiceRule exact(IpAddress vip, IpProtocol protocol, std::uint16_t port, std::uint16_t service) {
    return {vip, protocol, port, port, false, ServiceId{service}};
}
ServiceRule range(IpAddress vip, IpProtocol protocol, std::uint16_t first, std::uint16_t last,
                  std::uint16_t service) {
    return {vip, protocol, first, last, false, ServiceId{service}};
}
ServiceRule any(IpAddress vip, IpProtocol protocol, std::uint16_t service) {
    return {vip, protocol, 0, 65'535, true, ServiceId{service}};
}

std::uint32_t find_vip(const ServiceTable& table, const IpAddress& address) {
    return address.is_v4() ? table.find_vip(address.v4()) : table.find_vip(address.v6());
}

// No value: not a VIP.
std::optional<ServiceId> look_up(const ServiceTable& table, const IpAddress& address, IpProtocol protocol,
                                 std::uint16_t port) {
    const std::uint32_t vip = find_vip(table, address);
    if (vip == ServiceTable::kNotVip) return std::nullopt;
    return table.find_service(vip, protocol, port);
}

// The strongest rule that matches, the earliest of equal ones.
std::optional<ServiceId> scan(const std::vector<ServiceRule>& rules, const IpAddress& address,
                              IpProtocol protocol, std::uint16_t port) {
    bool is_vip = false;
    int best = 3;
    ServiceId service = kNoService;
    for (const ServiceRule& rule : rules) {
        if (rule.vip != address) continue;
        is_vip = true;
        if (rule.protocol != protocol || port < rule.first || port > rule.last) continue;
        const int strength = rule.any ? 2 : rule.first == rule.last ? 0 : 1;
        if (strength >= best) continue;
        best = strength;
        service = rule.service;
    }
    if (!is_vip) return std::nullopt;
    return service;
}

TEST(ServiceTable, exact_beats_range_beats_any) {
    const IpAddress vip = v4(0xcb00'710a);
    const ServiceTable table(
        std::vector<ServiceRule>{any(vip, IpProtocol::tcp, 1), range(vip, IpProtocol::tcp, 8000, 8099, 2),
                                 exact(vip, IpProtocol::tcp, 8080, 3), exact(vip, IpProtocol::udp, 53, 4)});
    for (const auto& [port, service] : {std::pair{0, 1},
                                        {7999, 1},
                                        {8000, 2},
                                        {8079, 2},
                                        {8080, 3},
                                        {8081, 2},
                                        {8099, 2},
                                        {8100, 1},
                                        {65'535, 1}})
        EXPECT_EQ(look_up(table, vip, IpProtocol::tcp, static_cast<std::uint16_t>(port)),
                  ServiceId{static_cast<std::uint16_t>(service)})
            << port;
    EXPECT_EQ(look_up(table, vip, IpProtocol::udp, 53), ServiceId{4});
    EXPECT_EQ(look_up(table, vip, IpProtocol::udp, 8080), kNoService);
    EXPECT_EQ(look_up(table, v4(0xcb00'710b), IpProtocol::tcp, 80), std::nullopt);
    EXPECT_EQ(look_up(table, v6(0xcb00'710a), IpProtocol::tcp, 80), std::nullopt);
    EXPECT_EQ(table.vips(), 1u);
}

TEST(ServiceTable, of_equal_strength_the_earlier_rule_wins) {
    const IpAddress vip = v6(1);
    const ServiceTable table(std::vector<ServiceRule>{
        range(vip, IpProtocol::udp, 100, 200, 1), range(vip, IpProtocol::udp, 150, 300, 2),
        exact(vip, IpProtocol::udp, 53, 3), exact(vip, IpProtocol::udp, 53, 4)});
    EXPECT_EQ(look_up(table, vip, IpProtocol::udp, 200), ServiceId{1});
    EXPECT_EQ(look_up(table, vip, IpProtocol::udp, 201), ServiceId{2});
    EXPECT_EQ(look_up(table, vip, IpProtocol::udp, 53), ServiceId{3});
}

TEST(ServiceTable, empty_table_has_no_vip) {
    EXPECT_EQ(look_up(ServiceTable(), v4(1), IpProtocol::tcp, 80), std::nullopt);
    EXPECT_EQ(look_up(ServiceTable(), v6(1), IpProtocol::tcp, 80), std::nullopt);
    EXPECT_EQ(look_up(ServiceTable(std::vector<ServiceRule>{}), v4(0), IpProtocol::tcp, 0), std::nullopt);
}

TEST(ServiceTable, zero_and_broadcast_addresses_are_addresses_like_others) {
    const ServiceTable table(std::vector<ServiceRule>{exact(v4(0), IpProtocol::tcp, 1, 1),
                                                      exact(v4(0xffff'ffff), IpProtocol::tcp, 1, 2)});
    EXPECT_EQ(look_up(table, v4(0), IpProtocol::tcp, 1), ServiceId{1});
    EXPECT_EQ(look_up(table, v4(0xffff'ffff), IpProtocol::tcp, 1), ServiceId{2});
    EXPECT_EQ(look_up(table, v4(1), IpProtocol::tcp, 1), std::nullopt);
}

class RandomRules {
  public:
    explicit RandomRules(std::uint64_t seed) : random_(seed) {}

    // Ports from a small range meet often; now and then the ends of the number range.
    std::uint16_t port() {
        const std::uint64_t kind = random_() % 16;
        return static_cast<std::uint16_t>(kind == 0   ? 0
                                          : kind == 1 ? 65'535
                                          : kind == 2 ? random_()
                                                      : 1000 + random_() % 60);
    }
    IpAddress address() { return random_() % 2 == 0 ? v4(random_() % 8) : v6(random_() % 8); }
    IpProtocol protocol() { return random_() % 2 == 0 ? IpProtocol::tcp : IpProtocol::udp; }
    ServiceRule rule(std::uint16_t service) {
        const std::uint64_t kind = random_() % 8;
        if (kind == 0) return any(address(), protocol(), service);
        if (kind < 4) return exact(address(), protocol(), port(), service);
        const auto [first, last] = std::minmax({port(), port()});
        return range(address(), protocol(), first, last, service);
    }
    std::uint64_t next() { return random_(); }

  private:
    std::mt19937_64 random_;
};

TEST(ServiceTable, equals_a_scan_of_random_rules) {
    RandomRules random(13);
    for (int round = 0; round < 400; ++round) {
        std::vector<ServiceRule> rules;
        const std::uint64_t count = random.next() % 120;
        for (std::uint16_t i = 0; i < count; ++i) rules.push_back(random.rule(i));
        const ServiceTable table(rules);
        for (int query = 0; query < 2'000; ++query) {
            const IpAddress address = random.address();
            const IpProtocol protocol = random.protocol();
            const std::uint16_t port = random.port();
            ASSERT_EQ(look_up(table, address, protocol, port), scan(rules, address, protocol, port))
                << "round " << round << " port " << port;
        }
    }
}

TEST(ServiceTable, every_port_of_one_vip_may_be_a_service) {
    std::vector<ServiceRule> rules;
    for (std::uint32_t port = 0; port < 65'535; ++port)
        rules.push_back(exact(v4(1), IpProtocol::tcp, static_cast<std::uint16_t>(port),
                              static_cast<std::uint16_t>(port)));
    const ServiceTable table(rules);
    for (std::uint32_t port = 0; port <= 65'535; ++port) {
        const auto expected = ServiceId{static_cast<std::uint16_t>(port)};  // 65,535 is kNoService
        ASSERT_EQ(look_up(table, v4(1), IpProtocol::tcp, static_cast<std::uint16_t>(port)), expected);
    }
}

TEST(ServiceTable, ten_thousand_vips_of_each_family) {
    std::vector<ServiceRule> rules;
    for (std::uint32_t i = 0; i < 10'000; ++i) {
        const auto service = static_cast<std::uint16_t>(i);
        rules.push_back(exact(v4(0x0a00'0000 + i), IpProtocol::tcp, 80, service));
        rules.push_back(exact(v6(i), IpProtocol::udp, 443, service));
    }
    const ServiceTable table(rules);
    EXPECT_EQ(table.vips(), 20'000u);
    for (std::uint32_t i = 0; i < 10'000; ++i) {
        const auto service = ServiceId{static_cast<std::uint16_t>(i)};
        ASSERT_EQ(look_up(table, v4(0x0a00'0000 + i), IpProtocol::tcp, 80), service);
        ASSERT_EQ(look_up(table, v4(0x0a00'0000 + i), IpProtocol::tcp, 81), kNoService);
        ASSERT_EQ(look_up(table, v6(i), IpProtocol::udp, 443), service);
        ASSERT_EQ(look_up(table, v4(0x0b00'0000 + i), IpProtocol::tcp, 80), std::nullopt);
        ASSERT_EQ(look_up(table, v6(10'000 + i), IpProtocol::udp, 443), std::nullopt);
    }
    Stopwatch watch;
    std::uint64_t found = 0;
    for (std::uint32_t i = 0; i < 2'000'000; ++i)
        found += look_up(table, v4(0x0a00'0000 + i % 10'000), IpProtocol::tcp, 80) != kNoService;
    print_figure("10,000 VIPs: %.1f ns a look-up", watch.milliseconds() / 2);
    EXPECT_EQ(found, 2'000'000u);
}

}  // namespace
}  // namespace weir
