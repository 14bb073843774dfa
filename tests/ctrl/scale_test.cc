// The sizes that weir promises, from a file to the tables: everything finds its place. What it costs is
// tests/bench/scale_bench.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ctrl/world.h"
#include "dataplane/net/family.h"
#include "dataplane/tables/selection.h"
#include "tests/ctrl/config_builder.h"
#include "tests/support/large_config.h"

namespace weir {
namespace {

using test::ConfigSize;
using test::large_config;

class ScaleTest : public testing::Test {
  protected:
    void apply(const Config& config) {
        const auto applied = world.apply(config);
        ASSERT_TRUE(applied) << applied.error().message;
    }
    static WorldOptions options() {
        WorldOptions made;
        made.ports = edge_facts();
        return made;
    }
    CountingWorkers workers{1};
    World world{options(), workers.all()};
};

TEST_F(ScaleTest, TenThousandServices) {
    const Config config = large_config({.pools = 50, .backends = 2, .services = 10'000});
    ASSERT_EQ(config.services.size(), 10'000u);
    apply(config);
    const ForwardingSnapshot& snapshot = *world.snapshot();
    EXPECT_EQ(snapshot.services.vips(), 10'000u);
    for (unsigned n = 0; n < 10'000; ++n) {
        const ServiceConfig& service = config.services[n];
        const std::uint32_t vip = snapshot.services.find_vip(ip(test::vip_of(n)).v4());
        ASSERT_NE(vip, ServiceTable::kNotVip) << service.name;
        const ServiceId id = snapshot.services.find_service(vip, IpProtocol::udp, test::kFirstServicePort);
        ASSERT_EQ(id, world.ids().service_id(service.name, service.vip));
        ASSERT_EQ(snapshot.services.find_service(vip, IpProtocol::udp, test::kFirstServicePort + 1),
                  kNoService);
        ASSERT_EQ(snapshot.service_records[index(id)].pool, world.ids().find_pool(service.pool)->id);
    }
    EXPECT_EQ(snapshot.services.find_vip(ip(test::vip_of(10'000)).v4()), ServiceTable::kNotVip);
}

TEST_F(ScaleTest, TenThousandBackendsInAPool) {
    constexpr unsigned kBackends = 10'000;
    const Config config = large_config({.pools = 1, .backends = kBackends, .services = 1});
    apply(config);
    const ForwardingSnapshot& snapshot = *world.snapshot();
    const PoolTable& pool = *snapshot.pools[0];
    ASSERT_EQ(pool.members.size(), kBackends);
    EXPECT_EQ(pool.maglev.slots().size(), MaglevTable::slots_for(kBackends));
    std::vector<std::uint32_t> slots(kBackends);
    for (const std::uint16_t member : pool.maglev.slots()) ++slots.at(member);
    const auto [least, most] = std::ranges::minmax(slots);
    EXPECT_GE(least, 100u);
    EXPECT_LE(most, 101u) << "weights are equal";
    // A flow's backend is the one whose address the outer header has.
    for (std::uint32_t n = 0; n < 50'000; ++n) {
        FlowKeyV4 flow{};
        flow.source = Ipv4Address{Be32(0xc612'0000u + n)};
        const BackendId id = choose_backend(
            pool, selection_hash<V4>(snapshot.selection_key, flow, SelectionInput::five_tuple), Tick{});
        const auto member =
            static_cast<std::size_t>(std::ranges::find(pool.members, id) - pool.members.begin());
        const BackendRecord& record = snapshot.backends[static_cast<std::size_t>(ForwardingMode::ipip)][id];
        ASSERT_EQ(record.state, TrafficState::serving);
        constexpr std::size_t kOuterDestination = 14 + 16;
        // The generator numbers names and addresses alike, so names are in the order of the file.
        ASSERT_TRUE(std::ranges::equal(std::span(record.header).subspan(kOuterDestination, 4),
                                       std::span(config.pools[0].backends[member].address.bytes()).first(4)));
    }
}

TEST_F(ScaleTest, ThousandPoolsOfAHundredCanBeRead) {
    const Config config = large_config({});
    EXPECT_EQ(config.pools.size(), 1'000u);
    EXPECT_TRUE(
        std::ranges::all_of(config.pools, [](const auto& pool) { return pool.backends.size() == 100; }));
    EXPECT_EQ(config.services.size(), 1'000u);
}

}  // namespace
}  // namespace weir
