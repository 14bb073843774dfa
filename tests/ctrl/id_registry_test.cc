// The life of an id: serving, draining, gone, free; and the ways back.
#include "ctrl/tables/id_registry.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dataplane/tables/maglev_table.h"
#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

// A registry, two workers that count, and the configuration assigned last.
class IdRegistryTest : public testing::Test {
  protected:
    void assign(Config next) {
        auto config = std::make_unique<Config>(std::move(next));
        const ConfigDelta delta(config_.get(), *config);
        const auto assigned = registry.assign(delta, ++generation);
        ASSERT_TRUE(assigned) << assigned.error().message;
        config_ = std::move(config);
        for (const auto worker : workers.all()) worker->backends.ensure(registry.backend_ids());
    }
    IdRegistry::Progress observe() { return registry.observe(SweepView(workers.all())); }
    // Two observations: the rules use what the workers had reached at the one before.
    IdRegistry::Progress settle() {
        observe();
        return observe();
    }
    const IdRegistry::Backend* find(const std::string& pool_name, const std::string& name,
                                    const std::string& address) {
        const IdRegistry::Pool* found = registry.find_pool(pool_name);
        if (found == nullptr) return nullptr;
        for (const auto& entry : found->backends)
            if (entry.name == name && entry.address == ip(address)) return &entry;
        return nullptr;
    }
    // Takes w2 out and ends its drain: gone, and every worker uses a snapshot that says so.
    BackendId bury_w2() {
        assign(web_config());
        const BackendId id = find("web", "w2", "10.1.1.12")->id;
        Config without = web_config();
        without.pools[0].backends.change().pop_back();
        assign(without);
        workers.take(generation);
        EXPECT_EQ(settle().drained, 1u);
        EXPECT_EQ(registry.end_drains(++generation).size(), 1u);
        workers.take(generation);
        return id;
    }

    IdRegistry registry;
    CountingWorkers workers{2};
    std::uint64_t generation = 0;
    std::unique_ptr<Config> config_;
};

TEST_F(IdRegistryTest, SameBackendKeepsItsIdWhateverTheOrderAndWeight) {
    assign(web_config());
    const BackendId w1 = find("web", "w1", "10.1.1.11")->id, w2 = find("web", "w2", "10.1.1.12")->id;
    EXPECT_NE(w1, w2);
    Config next = web_config();
    std::swap(next.pools[0].backends.change()[0], next.pools[0].backends.change()[1]);
    next.pools[0].backends.change()[0].weight = 7;
    next.pools[0].backends.change().insert(next.pools[0].backends.begin(), backend("a", "10.1.1.99"));
    assign(next);
    EXPECT_EQ(find("web", "w1", "10.1.1.11")->id, w1);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->id, w2);
    EXPECT_EQ(registry.draining(), 0u);
    EXPECT_EQ(registry.backend_ids(), 3u);
}

TEST_F(IdRegistryTest, NewAddressIsANewIdAndTheOldOneDrains) {
    assign(web_config());
    const BackendId old = find("web", "w2", "10.1.1.12")->id;
    Config next = web_config();
    next.pools[0].backends.change()[1].address = ip("10.1.1.13");
    assign(next);
    EXPECT_NE(find("web", "w2", "10.1.1.13")->id, old);
    EXPECT_EQ(find("web", "w2", "10.1.1.13")->phase, IdPhase::serving);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->id, old);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->phase, IdPhase::draining);
    EXPECT_EQ(registry.draining(), 1u);
}

TEST_F(IdRegistryTest, DrainWaitsForEveryWorkerAndEveryFlow) {
    assign(web_config());
    const BackendId id = find("web", "w2", "10.1.1.12")->id;
    Config without = web_config();
    without.pools[0].backends.change().pop_back();
    assign(without);
    workers[0].snapshot_generation.set(generation);
    EXPECT_EQ(settle().drained, 0u) << "worker 1 has not seen that it drains";
    workers[1].backends[index(id)].active_flows.add(1);
    workers.take(generation);
    EXPECT_EQ(settle().drained, 0u) << "worker 1 holds a flow";
    EXPECT_EQ(registry.end_drains(generation + 1).size(), 0u);
    workers[1].backends[index(id)].active_flows.subtract(1);
    EXPECT_EQ(observe().drained, 1u);
    EXPECT_EQ(registry.end_drains(++generation).size(), 1u);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->phase, IdPhase::gone);
    EXPECT_EQ(registry.draining(), 0u);
}

TEST_F(IdRegistryTest, AWorkersFlowsCountOnlyAfterAnObservationOfItsGeneration) {
    assign(web_config());
    Config without = web_config();
    without.pools[0].backends.change().pop_back();
    assign(without);
    workers.take(generation);
    EXPECT_EQ(observe().drained, 0u);
    EXPECT_EQ(observe().drained, 1u);
}

TEST_F(IdRegistryTest, IdIsReusedOnlyAfterTwoSweepsOfEveryWorker) {
    const BackendId id = bury_w2();
    settle();  // sampled here
    workers[0].flow_sweeps.add(2);
    workers[1].flow_sweeps.add(1);
    EXPECT_EQ(settle().freed, 0u);
    Config next = web_config();
    next.pools[0].backends.change()[1] = backend("w3", "10.1.1.33");
    assign(next);
    EXPECT_NE(find("web", "w3", "10.1.1.33")->id, id) << "worker 1 may still hold the old id";
    workers[1].flow_sweeps.add(1);
    EXPECT_EQ(observe().freed, 1u);
    EXPECT_EQ(registry.waiting(), 0u);
    EXPECT_EQ(find("web", "w2", "10.1.1.12"), nullptr);
    next.pools[0].backends.change().push_back(backend("w4", "10.1.1.44"));
    assign(next);
    EXPECT_EQ(find("web", "w4", "10.1.1.44")->id, id);
}

TEST_F(IdRegistryTest, SweepsBeforeTheRemovalDoNotCount) {
    bury_w2();
    workers.sweep(100);
    settle();
    EXPECT_EQ(registry.waiting(), 1u);
    EXPECT_EQ(settle().freed, 0u);
    workers.sweep(2);
    EXPECT_EQ(observe().freed, 1u);
    EXPECT_EQ(registry.waiting(), 0u);
}

TEST_F(IdRegistryTest, ComingBackCancelsTheDrainAndKeepsTheId) {
    assign(web_config());
    const BackendId id = find("web", "w2", "10.1.1.12")->id;
    Config without = web_config();
    without.pools[0].backends.change().pop_back();
    assign(without);
    workers.take(generation);
    EXPECT_EQ(settle().drained, 1u);
    assign(web_config());
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->id, id);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->phase, IdPhase::serving);
    EXPECT_EQ(registry.draining(), 0u);
    EXPECT_EQ(registry.end_drains(generation + 1).size(), 0u);
}

TEST_F(IdRegistryTest, ComingBackWhileGoneKeepsTheIdAndIsNotFreedLater) {
    const BackendId id = bury_w2();
    settle();
    assign(web_config());
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->id, id);
    workers.take(generation);
    workers.sweep(10);
    EXPECT_EQ(settle().freed, 0u);
    ASSERT_NE(find("web", "w2", "10.1.1.12"), nullptr);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->phase, IdPhase::serving);
}

TEST_F(IdRegistryTest, ACutBackendIsGoneAtOnceWithItsFlows) {
    assign(web_config());
    const BackendId id = find("web", "w2", "10.1.1.12")->id;
    workers[0].backends[index(id)].active_flows.set(7);
    Config without = web_config();
    without.pools[0].backends.change().pop_back();
    assign(without);
    EXPECT_EQ(registry.cut({"web", "w2"}), 1u);
    EXPECT_EQ(registry.end_drains(generation).size(), 1u);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->phase, IdPhase::gone);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->since, generation);
    EXPECT_EQ(registry.draining(), 0u);
    EXPECT_EQ(registry.waiting(), 1u);  // its id, for the sweeps that take its flows
    workers.take(generation);
    settle();
    observe();
    workers.sweep(2);
    EXPECT_EQ(observe().freed, 1u);
}

TEST_F(IdRegistryTest, CutTakesWhatDrainsAlreadyAndNothingElse) {
    assign(web_config());
    Config moved = web_config();
    moved.pools[0].backends.change()[1].address = ip("10.1.1.13");
    assign(moved);
    EXPECT_EQ(registry.cut({"web", "w1"}), 0u);
    EXPECT_EQ(registry.cut({"web", "nobody"}), 0u);
    EXPECT_EQ(registry.cut({"nowhere", "w2"}), 0u);
    EXPECT_EQ(registry.cut({"web", "w2"}), 1u);
    registry.end_drains(++generation);
    EXPECT_EQ(find("web", "w2", "10.1.1.12")->phase, IdPhase::gone);
    EXPECT_EQ(find("web", "w2", "10.1.1.13")->phase, IdPhase::serving);
    EXPECT_EQ(find("web", "w1", "10.1.1.11")->phase, IdPhase::serving);
}

TEST_F(IdRegistryTest, RemovedPoolIsGoneAtOnceWithItsDrainingBackends) {
    assign(web_config());
    const PoolId web = registry.find_pool("web")->id;
    const BackendId w1 = find("web", "w1", "10.1.1.11")->id;
    Config without_w2 = web_config();
    without_w2.pools[0].backends.change().pop_back();
    assign(without_w2);
    ASSERT_EQ(registry.draining(), 1u);
    assign(edge_config());
    EXPECT_EQ(registry.find_pool("web"), nullptr);
    EXPECT_EQ(registry.draining(), 0u);
    EXPECT_EQ(registry.service_id("web", ip("203.0.113.10")), kNoService);

    assign(web_config());  // back before the sweeps: the same ids
    EXPECT_EQ(registry.find_pool("web")->id, web);
    EXPECT_EQ(find("web", "w1", "10.1.1.11")->id, w1);
    EXPECT_EQ(registry.backend_ids(), 2u);

    assign(edge_config());
    workers.take(generation);
    settle();
    workers.sweep(2);
    EXPECT_EQ(observe().freed, 4u) << "two backends, a pool and a service";
    EXPECT_EQ(registry.waiting(), 0u);
}

TEST_F(IdRegistryTest, ServiceIdBelongsToNameAndVip) {
    assign(web_config());
    const ServiceId id = registry.service_id("web", ip("203.0.113.10"));
    Config moved = web_config();
    moved.services[0].vip = ip("203.0.113.11");
    assign(moved);
    EXPECT_EQ(registry.service_id("web", ip("203.0.113.10")), kNoService);
    EXPECT_NE(registry.service_id("web", ip("203.0.113.11")), id);
    assign(web_config());
    EXPECT_EQ(registry.service_id("web", ip("203.0.113.10")), id) << "back before the sweeps";
}

TEST_F(IdRegistryTest, TooManyIsOneSentenceAndChangesNothing) {
    assign(web_config());
    Config huge = web_config();
    huge.pools[0].backends.change().clear();
    for (unsigned i = 0; i <= MaglevTable::kMaxMembers; ++i)
        huge.pools[0].backends.change().push_back(backend(fmt::format("b{}", i), "10.1.1.11"));
    const auto refused = registry.assign(ConfigDelta(config_.get(), huge), generation + 1);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "pool \"web\" has 65536 backends; at most 65535 are possible");
    EXPECT_EQ(registry.backend_ids(), 2u);
    EXPECT_EQ(registry.draining(), 0u);
}

TEST(IdStock, SmallestFreeFirst) {
    IdStock stock(4);
    EXPECT_EQ(stock.take(), 0u);
    EXPECT_EQ(stock.take(), 1u);
    EXPECT_EQ(stock.take(), 2u);
    stock.give_back(2);
    stock.give_back(0);
    EXPECT_EQ(stock.available(), 3u);
    EXPECT_EQ(stock.take(), 0u);
    EXPECT_EQ(stock.take(), 2u);
    EXPECT_EQ(stock.take(), 3u);
    EXPECT_EQ(stock.available(), 0u);
    EXPECT_EQ(stock.high_water(), 4u);
}

}  // namespace
}  // namespace weir
