// Frames as a NIC with RSS leaves them, with its key and with others.
#include "dataplane/rss_check.h"

#include "ctrl/rss_watch.h"
#include "tests/support/nat_world.h"

namespace weir::test {
namespace {

class RssCheckTest : public NatTest {
  protected:
    // Looks at the frame at the queue, with that hash.
    void look(const Bytes& bytes, std::uint32_t hash, std::uint32_t worker) {
        rte_mbuf* frame = frames_.frame(bytes);
        frame->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
        frame->hash.rss = hash;
        if (check_.is_due()) check_.look(std::span(&frame, 1), worker, right_, wrong_);
        rte_pktmbuf_free(frame);
    }
    static std::uint32_t hash_of(const Tuple& tuple) {
        const auto wire = [](const IpAddress& a) { return std::bit_cast<WireIpv4>(a.v4()); };
        return rss_hash(kRssKey, wire(tuple.source), wire(tuple.destination), tuple.source_port,
                        tuple.destination_port);
    }

    RssCheck check_;
    Counter right_, wrong_;
};

TEST_F(RssCheckTest, frames_where_they_belong_are_right) {
    check_.begin(4);
    for (std::uint32_t number = 1; number <= 200; ++number) {
        const std::uint32_t hash = hash_of(flow(number));
        look(tcp_frame(flow(number), kAck), hash, hash % 128 % 4);
    }
    EXPECT_EQ(right_.value(), 64u) << "the first ones are enough";
    EXPECT_EQ(wrong_.value(), 0u);
    EXPECT_FALSE(check_.is_due());
    check_.begin(4);
    EXPECT_TRUE(check_.is_due()) << "the device has been made again";
}

TEST_F(RssCheckTest, another_key_and_another_table_show) {
    check_.begin(4);
    const std::uint32_t hash = hash_of(flow(1));
    look(tcp_frame(flow(1), kAck), hash ^ 0x8000'0000, hash % 128 % 4);
    EXPECT_EQ(wrong_.value(), 1u) << "the queue by chance, not the key";
    look(tcp_frame(flow(1), kAck), hash, hash % 128 % 4 ^ 1);
    EXPECT_EQ(wrong_.value(), 2u);
    EXPECT_EQ(right_.value(), 0u);
}

TEST_F(RssCheckTest, what_has_no_hash_says_nothing_and_does_not_ask_for_ever) {
    check_.begin(2);
    look(echo_request(ip("198.51.100.7"), ip("203.0.113.10"), 8), 7, 0);
    for (int i = 0; i < 10'000; ++i) {
        rte_mbuf* frame = frames_.frame(tcp_frame(flow(1), kAck));
        if (check_.is_due()) check_.look(std::span(&frame, 1), 0, right_, wrong_);
        rte_pktmbuf_free(frame);
    }
    EXPECT_EQ(right_.value() + wrong_.value(), 0u);
    EXPECT_FALSE(check_.is_due());
}

TEST_F(RssCheckTest, the_operator_is_told_once_a_port) {
    WorkerCounters one, two;
    const std::vector<const WorkerCounters*> workers = {&one, &two};
    std::vector<PortStatistics> ports(2);
    ports[0].name = "edge";
    ports[1].name = "inside";
    std::vector<std::string> said;
    const Notify notify = [&](Severity, const std::string& what) { said.push_back(what); };
    RssWatch watch;
    one.rss_as_computed[0].add(10);
    watch.look(ports, workers, notify);
    EXPECT_TRUE(said.empty());
    one.rss_otherwise[1].add(3);
    two.rss_otherwise[1].add(4);
    two.rss_as_computed[1].add(1);
    for (int second = 0; second < 3; ++second) watch.look(ports, workers, notify);
    ASSERT_EQ(said.size(), 1u);
    EXPECT_TRUE(said[0].starts_with("port inside: the NIC has brought 7 of its first 8 frames")) << said[0];
}

}  // namespace
}  // namespace weir::test
