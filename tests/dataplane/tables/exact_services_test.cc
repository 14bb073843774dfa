// ServiceTable::find_exact against find_vip and find_service, whose short cut it is; and the empty slot's
// key.
#include "dataplane/tables/exact_services.h"

#include <gtest/gtest.h>

#include <random>

#include "dataplane/tables/service_table.h"

namespace weir {
namespace {

using Address = std::uint32_t;

// Few addresses and ports, so that rules overlap; among them those that are all ones.
class Rules {
  public:
    explicit Rules(std::uint32_t seed) : random_(seed) {}

    IpAddress address() {
        const std::uint32_t kind = below(9);
        if (random_() % 2 == 0) return IpAddress(Ipv4Address{Be32(kind < 2 ? kind - 1 : 0xcb00'7100 + kind)});
        Ipv6Address v6{};
        if (kind == 0) v6.bytes.fill(0xff);
        if (kind > 1) v6.bytes[15] = static_cast<std::uint8_t>(kind);
        return IpAddress(v6);
    }
    std::uint16_t port() {
        const std::uint32_t kind = below(12);
        return static_cast<std::uint16_t>(kind < 2 ? kind - 1 : kind == 2 ? random_() : 440 + below(30));
    }
    IpProtocol protocol() { return below(2) == 0 ? IpProtocol::tcp : IpProtocol::udp; }
    ServiceRule rule(std::uint16_t service) {
        const std::uint32_t kind = below(8);
        if (kind == 0) return {address(), protocol(), 0, 65'535, true, ServiceId{service}};
        const std::uint16_t a = port(), b = kind < 4 ? port() : a;
        return {address(), protocol(), std::min(a, b), std::max(a, b), false, ServiceId{service}};
    }
    std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_()) % bound; }

  private:
    std::mt19937 random_;
};

struct Answers {
    ServiceId exact, last_word;
};

Answers look_up(const ServiceTable& table, const IpAddress& address, IpProtocol protocol,
                std::uint16_t port) {
    const auto ask = [&](const auto& bare) -> Answers {
        const std::uint32_t vip = table.find_vip(bare);
        const ServiceId service =
            vip == ServiceTable::kNotVip ? kNoService : table.find_service(vip, protocol, port);
        return {table.find_exact(bare, protocol, Be16(port)), service};
    };
    return address.is_v4() ? ask(address.v4()) : ask(address.v6());
}

// The first rule on just this port.
ServiceId scan(const std::vector<ServiceRule>& rules, const IpAddress& address, IpProtocol protocol,
               std::uint16_t port) {
    for (const ServiceRule& rule : rules)
        if (rule.vip == address && rule.protocol == protocol && !rule.any && rule.first == port &&
            rule.last == port)
            return rule.service;
    return kNoService;
}

TEST(ExactServices, find_exact_knows_the_single_ports_and_agrees_with_the_last_word) {
    Rules random(31);
    std::uint64_t found = 0;
    for (int round = 0; round < 600; ++round) {
        std::vector<ServiceRule> rules;
        const std::uint32_t count = random.below(round % 10 == 0 ? 3 : 150);
        for (std::uint16_t i = 0; i < count; ++i) rules.push_back(random.rule(i));
        const ServiceTable table(rules);
        for (int query = 0; query < 1'500; ++query) {
            const IpAddress address = random.address();
            const IpProtocol protocol = random.protocol();
            const std::uint16_t port = random.port();
            const Answers answers = look_up(table, address, protocol, port);
            ASSERT_EQ(answers.exact, scan(rules, address, protocol, port))
                << "round " << round << " " << port;
            if (answers.exact == kNoService) continue;
            ++found;
            ASSERT_EQ(answers.exact, answers.last_word) << "round " << round << " port " << port;
        }
    }
    EXPECT_GT(found, 10'000u);
}

TEST(ExactServices, nothing_is_found_where_nothing_is) {
    for (const ServiceTable& table : {ServiceTable(), ServiceTable(std::vector<ServiceRule>{})})
        for (const IpProtocol protocol : {IpProtocol::tcp, IpProtocol::udp})
            for (const std::uint32_t address : {0u, 1u, 0xcb00'710au, 0xffff'ffffu})
                for (const unsigned port : {0u, 1u, 80u, 65'535u}) {
                    const Be16 l4_port(static_cast<std::uint16_t>(port));
                    EXPECT_EQ(table.find_exact(Ipv4Address{Be32(address)}, protocol, l4_port), kNoService);
                    Ipv6Address v6{};
                    v6.bytes.fill(static_cast<std::uint8_t>(address));
                    EXPECT_EQ(table.find_exact(v6, protocol, l4_port), kNoService);
                }
}

// 255.255.255.255 and port 65,535 make the key that an empty slot seems to hold; so does, of IPv6, any
// address that is no VIP.
TEST(ExactServices, the_empty_slots_key_is_a_key_like_others) {
    constexpr Address kOnes = 0xffff'ffff;
    const Be16 last_port(65'535);
    const ExactServices without(std::vector<ExactServices::Entry>{{1, last_port, ServiceId{4}}});
    EXPECT_EQ(without.find(kOnes, last_port), kNoService);
    const ExactServices with(std::vector<ExactServices::Entry>{{kOnes, last_port, ServiceId{7}},
                                                               {kOnes, last_port, ServiceId{8}},
                                                               {kOnes - 1, last_port, ServiceId{9}}});
    EXPECT_EQ(with.find(kOnes, last_port), ServiceId{7}) << "the earlier one";
    EXPECT_EQ(with.find(kOnes - 1, last_port), ServiceId{9});
    EXPECT_EQ(with.find(kOnes, Be16(65'534)), kNoService);
}

// At every size each key is found with its own service, however the slots fall.
TEST(ExactServices, tables_of_every_size) {
    std::mt19937 random(32);
    for (std::uint32_t size = 0; size < 200; ++size) {
        std::vector<ExactServices::Entry> entries;
        const auto base = static_cast<Address>(random());
        for (std::uint32_t i = 0; i < size; ++i)
            entries.push_back({base + (i << (size % 24)), Be16(static_cast<std::uint16_t>(i)),
                               ServiceId{static_cast<std::uint16_t>(i)}});
        const ExactServices table(entries);
        for (const ExactServices::Entry& entry : entries) {
            ASSERT_EQ(table.find(entry.address, entry.port), entry.service) << size;
            ASSERT_EQ(table.find(entry.address, Be16(60'000)), kNoService) << size;
        }
    }
}

}  // namespace
}  // namespace weir
