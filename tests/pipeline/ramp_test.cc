// Slow start in the pipeline: a member that ramps gets fewer new flows, and keeps every one that it has.
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

class RampTest : public DriversTest {
  protected:
    void send(SmallWorld& world, std::uint32_t flow, std::uint8_t flags, Tick now) {
        rte_mbuf* packet = frames_.frame(tcp_frame(client_flow(flow, ip("203.0.113.10")), flags));
        world.worker().run({&packet, 1}, now);
        EXPECT_EQ(world.worker().take().size(), 1u);
    }
    FramePool frames_{"ramp", 255};
};

TEST_F(RampTest, keeps_new_flows_away_and_no_known_one) {
    constexpr TickCount kLength = 640;
    SmallWorld world(web_config());
    for (std::uint32_t n = 0; n < 400; ++n) {
        send(world, n, kSyn, Tick{1});
        send(world, n, kAck, Tick{1});
    }
    ForwardingSnapshot ramping = world.worker().world();
    PoolTable pool = *ramping.pools[0];
    pool.ramps = Ramps({{Tick{2}, kLength}, {}}, pool.maglev);
    for (ServiceRecord& service : ramping.service_records) service.table = &pool;
    world.worker().use(ramping);

    const BackendCounters& first = world.worker().counters().backends[index(pool.members[0])];
    const std::uint64_t its_flows = first.active_flows.value(), its_packets = first.packets.value();
    ASSERT_GT(its_flows, 100u);
    for (std::uint32_t n = 0; n < 400; ++n) send(world, n, kAck, Tick{2});
    EXPECT_EQ(first.packets.value(), its_packets + its_flows);
    const auto new_flows = [&](std::uint32_t from, Tick now) {
        const std::uint64_t before = first.new_flows.value();
        for (std::uint32_t n = from; n < from + 800; ++n) send(world, n, kSyn, now);
        return first.new_flows.value() - before;
    };
    EXPECT_LT(new_flows(1'000, Tick{2}), 40u);
    const std::uint64_t half = new_flows(2'000, Tick{2} + kLength / 2);
    EXPECT_NEAR(static_cast<double>(half), 800.0 / 3, 60);
    EXPECT_NEAR(static_cast<double>(new_flows(3'000, Tick{2} + kLength)), 400, 70);
    world.expect_consistent();
}

}  // namespace
}  // namespace weir::test
