// What a change of the configuration is said to touch, and what configurations share.
#include "ctrl/tables/config_delta.h"

#include <gtest/gtest.h>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

using Places = std::vector<std::size_t>;

Config two_pools() {
    Config config = web_config();
    config.pools.push_back(pool("other", {backend("o1", "10.1.1.21")}));
    config.services.push_back(service("other", "203.0.113.11", "other"));
    return config;
}

TEST(SharedList, ACopySharesUntilOneOfThemIsChanged) {
    SharedList<int> one(std::vector{1, 2, 3});
    SharedList<int> other = one;
    EXPECT_EQ(&one.items(), &other.items());
    other.change().push_back(4);
    EXPECT_EQ(one.items(), (std::vector{1, 2, 3}));
    EXPECT_EQ(other.items(), (std::vector{1, 2, 3, 4}));
    EXPECT_NE(one, other);
    other.change().pop_back();
    EXPECT_EQ(one, other) << "equal elements, whoever has them";
    const std::vector<int>* own = &other.items();
    other.change()[0] = 7;
    EXPECT_EQ(&other.items(), own) << "its own are changed in place";
}

TEST(ConfigDelta, WithoutAPreviousOneEverythingIsNew) {
    const Config config = two_pools();
    const ConfigDelta delta(nullptr, config);
    EXPECT_EQ(delta.changed_pools(), (Places{0, 1}));
    EXPECT_TRUE(delta.services_changed() && delta.ways_changed());
    EXPECT_FALSE(delta.is_none());
}

TEST(ConfigDelta, NamesWhatChanged) {
    const Config before = two_pools();
    Config after = before;
    EXPECT_TRUE(ConfigDelta(&before, after).changed_pools().empty());
    after.pools[1].backends.change()[0].weight = 9;
    EXPECT_EQ(ConfigDelta(&before, after).changed_pools(), Places{1});
    EXPECT_FALSE(ConfigDelta(&before, after).services_changed());
    EXPECT_FALSE(ConfigDelta(&before, after).ways_changed());
    after.services[0].forwarding = ForwardingMode::gue;
    EXPECT_TRUE(ConfigDelta(&before, after).services_changed());
    after.neighbors[0].mac = mac("02:00:00:00:00:99");
    EXPECT_TRUE(ConfigDelta(&before, after).ways_changed());
}

TEST(ConfigDelta, PoolsAreKnownByTheirNamesWhereverTheyStand) {
    const Config before = two_pools();
    Config after = before;
    std::swap(after.pools[0], after.pools[1]);
    after.pools.push_back(pool("third", {}));
    EXPECT_EQ(ConfigDelta(&before, after).changed_pools(), Places{2});
    after.pools.erase(after.pools.begin());
    const ConfigDelta delta(&before, after);
    ASSERT_EQ(delta.removed_pools().size(), 1u);
    EXPECT_EQ(delta.removed_pools()[0]->name, "other");
}

}  // namespace
}  // namespace weir
