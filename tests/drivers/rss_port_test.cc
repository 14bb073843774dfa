// The way to a NIC's RSS through ethdev, without a NIC: a bond over a null device keeps key and RETA as a NIC
// does, and hands both on. What the hash itself is, rss_test checks.
#include <rte_bus_vdev.h>
#include <rte_eth_bond.h>

#include <algorithm>

#include "tests/drivers/eal_fixture.h"

namespace weir::test {
namespace {

class RssPortTest : public DriversTest {
  protected:
    void SetUp() override {
        ASSERT_EQ(rte_eal_hotplug_add("vdev", "net_null_member", ""), 0);
        std::uint16_t member = 0;
        ASSERT_EQ(rte_eth_dev_get_port_by_name("net_null_member", &member), 0);
        const int made = rte_eth_bond_create("net_bonding_rss", BONDING_MODE_ROUND_ROBIN, 0);
        ASSERT_GE(made, 0);
        bond_ = static_cast<std::uint16_t>(made);
        ASSERT_EQ(rte_eth_bond_slave_add(bond_, member), 0);
    }
    void TearDown() override {
        rte_eth_bond_free("net_bonding_rss");
        rte_eal_hotplug_remove("vdev", "net_null_member");
    }
    std::vector<std::uint16_t> reta_of(std::uint16_t ethdev) const {
        rte_eth_rss_reta_entry64 groups[2] = {{~0ull, {}}, {~0ull, {}}};
        EXPECT_EQ(rte_eth_dev_rss_reta_query(ethdev, groups, 128), 0);
        std::vector<std::uint16_t> entries(128);
        for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = groups[i / 64].reta[i % 64];
        return entries;
    }

    std::uint16_t bond_ = 0;
};

TEST_F(RssPortTest, the_device_gets_our_key_our_types_and_a_table_over_the_workers) {
    auto port = Port::adopt(bond_, spec("edge", "", 3), pools_);
    ASSERT_TRUE(port) << port.error().message;
    const RssInfo& rss = port->rss();
    EXPECT_TRUE(rss.enabled);
    EXPECT_TRUE(rss.key_settable);
    EXPECT_TRUE(rss.matches_software);
    EXPECT_EQ(rss.key, kRssKey);
    EXPECT_EQ(rss.reta.entries().size(), 128u);
    const auto in_device = reta_of(port->ethdev());
    EXPECT_TRUE(std::equal(in_device.begin(), in_device.end(), rss.reta.entries().begin()));
    EXPECT_EQ(in_device[127], 127 % 3);

    ToeplitzKey key{};
    rte_eth_rss_conf in_force{key.data(), static_cast<std::uint8_t>(key.size()), 0};
    ASSERT_EQ(rte_eth_dev_rss_hash_conf_get(port->ethdev(), &in_force), 0);
    EXPECT_EQ(key, kRssKey);
    EXPECT_EQ(in_force.rss_hf, RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
                                   RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP);
    EXPECT_TRUE(port->notes().empty()) << port->notes()[0];
}

TEST_F(RssPortTest, one_worker_owns_every_frame) {
    const auto port = Port::adopt(bond_, spec("edge", "", 1), pools_);
    ASSERT_TRUE(port) << port.error().message;
    EXPECT_TRUE(port->rss().matches_software);
    for (const auto queue : port->rss().reta.entries()) EXPECT_EQ(queue, 0);
}

}  // namespace
}  // namespace weir::test
