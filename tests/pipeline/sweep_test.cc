// Pipeline::sweep: owners that are gone are looked for after each change of the world, for as long as any of
// their entries can be left, and then no more; the gauges of active flows stay exact throughout.
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

constexpr Tick kNow{1'000};
constexpr std::uint64_t kSlots = 500;
constexpr std::uint32_t kBuckets = 100, kFlowsEach = 120;

class SweepTest : public DriversTest {
  protected:
    SweepTest() {
        counters_->services.ensure(compiled_.world().ids().service_ids());
        counters_->backends.ensure(compiled_.world().ids().backend_ids());
        for (const unsigned mode : {2u, 4u})
            for (std::uint32_t n = 0; n < kFlowsEach; n += kBurstSize) send(mode, n);
    }
    ~SweepTest() override { EXPECT_EQ(frames_.in_use(), 0u); }

    void send(unsigned mode, std::uint32_t first) {
        Burst burst(PortId{0});
        for (std::uint32_t n = first; n < std::min(first + kBurstSize, kFlowsEach); ++n)
            burst.packet[burst.size++] =
                frames_.frame(tcp_frame(client_flow(n, mode_vip(mode, false)), kSyn));
        pipeline_.run(burst, world_, kNow);
        TestWire wire;
        pipeline_.flush(world_, [&wire](PortId) -> TestWire& { return wire; });
        for (rte_mbuf* packet : wire.taken) rte_pktmbuf_free(packet);
    }
    [[nodiscard]] ServiceId service_of(unsigned mode) const {
        const Ipv4Address vip = mode_vip(mode, false).v4();
        return world_.services.find_exact(vip, IpProtocol::tcp, Be16(80));
    }
    // As a removed service looks: its record is there, its table is not.
    void remove_service(ServiceId id) { world_.service_records[index(id)].table = nullptr; }
    // As a dead backend looks: of no pool.
    void remove_backends(unsigned mode) {
        const ServiceRecord& service = world_.service_records[index(service_of(mode))];
        BackendView& view = const_cast<BackendView&>(world_.view_of(service));
        auto chunks = view.chunks();
        for (auto& chunk : chunks) {
            auto changed = std::make_shared<BackendChunk>(*chunk);
            for (BackendRecord& record : *changed)
                if (record.pool == service.pool) record = BackendRecord{};
            chunk = std::move(changed);
        }
        view = BackendView(std::move(chunks));
    }
    void sweep(std::uint32_t buckets = kBuckets, Tick now = kNow) { pipeline_.sweep(world_, now, buckets); }
    // Entries by the gauges, each of which must agree with the table.
    std::uint64_t active() {
        std::uint64_t by_service = 0, by_backend = 0;
        for (std::uint32_t id = 0; id < compiled_.world().ids().service_ids(); ++id)
            by_service += counters_->services[id].active_flows.value();
        for (std::uint32_t id = 0; id < compiled_.world().ids().backend_ids(); ++id)
            by_backend += counters_->backends[id].active_flows.value();
        EXPECT_EQ(by_service, by_backend);
        EXPECT_EQ(by_service, pipeline_.flows().entries());
        EXPECT_EQ(by_service, counters_->flow_entries.value());
        return by_service;
    }
    std::uint64_t active_of(unsigned mode) {
        return counters_->services[index(service_of(mode))].active_flows.value();
    }

    FramePool frames_{"sweep", 255};
    SmallWorld compiled_{all_modes_config()};
    ForwardingSnapshot world_ = compiled_.worker().world();
    HugeMemory memory_ = std::move(*HugeMemory::allocate(FlowTable::bytes_for(kSlots), false));
    std::unique_ptr<WorkerCounters> counters_ = std::make_unique<WorkerCounters>();
    Pipeline pipeline_{memory_.bytes().first(FlowTable::bytes_for(kSlots)), HashKey::zero(), *counters_};
};

TEST_F(SweepTest, looks_for_absent_owners_after_a_change_and_not_without_one) {
    ASSERT_EQ(active(), 2 * kFlowsEach);
    sweep();
    sweep();
    EXPECT_EQ(active(), 2 * kFlowsEach);
    // No generation says so: these sweeps look only at the time.
    remove_service(service_of(2));
    for (unsigned n = 0; n < 3; ++n) sweep();
    EXPECT_EQ(active(), 2 * kFlowsEach);
    ++world_.generation;
    sweep();
    EXPECT_EQ(active(), kFlowsEach);
    EXPECT_EQ(active_of(2), 0u);
    EXPECT_EQ(active_of(4), kFlowsEach);
}

// A change comes when a sweep is half-way: the sweep begun after it must look too, and only the next need
// not.
TEST_F(SweepTest, looks_until_a_sweep_that_was_begun_after_the_change_is_complete) {
    for (unsigned begun = 0; begun < kBuckets; begun += 33) {
        sweep(begun);
        ++world_.generation;
        const std::uint64_t before = pipeline_.flows().completed_sweeps();
        while (pipeline_.flows().completed_sweeps() < before + 2) sweep(1);
        EXPECT_EQ(counters_->flow_sweeps.value(), before + 2);
        // From here on nobody is looked for.
        const ForwardingSnapshot kept = world_;
        remove_service(service_of(2));
        sweep();
        EXPECT_EQ(active(), 2 * kFlowsEach) << begun;
        world_ = kept;
    }
}

TEST_F(SweepTest, one_bucket_at_a_time_finds_every_entry_of_dead_backends) {
    sweep(2 * kBuckets + 57);  // the first generation's looking is over, and a sweep is half-way
    remove_backends(4);
    ++world_.generation;
    const std::uint64_t before = pipeline_.flows().completed_sweeps();
    std::uint64_t least = 2 * kFlowsEach;
    while (pipeline_.flows().completed_sweeps() < before + 2) {
        sweep(1);
        EXPECT_LE(active(), least);
        least = active();
    }
    EXPECT_EQ(active_of(4), 0u);
    EXPECT_EQ(active_of(2), kFlowsEach);
    EXPECT_EQ(active(), kFlowsEach);
}

TEST_F(SweepTest, expired_entries_go_whether_or_not_anybody_is_looked_for) {
    const Tick late = kNow + 600 * kTicksPerSecond;
    sweep(kBuckets / 2, late);  // looking
    const std::uint64_t left = active();
    EXPECT_LT(left, 2 * kFlowsEach);
    EXPECT_GT(left, 0u);
    sweep(2 * kBuckets, kNow);
    EXPECT_EQ(active(), left) << "live by that clock";
    sweep(kBuckets, late);  // not looking
    EXPECT_EQ(active(), 0u);
}

}  // namespace
}  // namespace weir::test
