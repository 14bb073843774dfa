// Frames that arrive as mbuf chains, cut anywhere (reliability case P-7): the same verdict and the same
// output as the flat frame, or the drop `segmented`. No mbuf is lost either way.
#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

struct Sample {
    std::string name;
    Bytes frame;
};

std::vector<Sample> every_kind() {
    std::vector<Sample> samples;
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true}) {
            const std::string suffix = " mode " + std::to_string(mode) + (v6 ? " v6" : " v4");
            const Tuple flow = client_flow(1000 + mode, mode_vip(mode, v6));
            samples.push_back({"tcp" + suffix, tcp_frame(flow, kAck, 101)});
            samples.push_back({"udp" + suffix, udp_frame(flow, 90)});
            samples.push_back({"udp, no checksum" + suffix, udp_frame(flow, 91, v6)});
            Bytes padded = udp_frame(flow, 60);
            padded.resize(padded.size() + 17, 0x5a);
            samples.push_back({"udp, padded" + suffix, padded});
        }
    for (const bool v6 : {false, true}) {
        const IpAddress client = ip(v6 ? "2001:db8:9::1" : "198.18.0.1"), vip = mode_vip(1, v6);
        samples.push_back({v6 ? "echo v6" : "echo v4", echo_request(client, vip, 80)});
        Bytes padded = echo_request(client, vip, 51);
        padded.resize(130, 0x5a);
        samples.push_back({v6 ? "echo v6, padded" : "echo v4, padded", padded});
    }
    samples.push_back({"nd", neighbor_solicitation(ip("fd00:1::99"), mode_vip(1, true))});
    Bytes padded_nd = neighbor_solicitation(ip("fd00:1::99"), mode_vip(1, true));
    padded_nd.resize(130, 0x5a);
    samples.push_back({"nd, padded", padded_nd});
    samples.push_back({"arp", arp_request(ip("10.1.0.1"), mode_vip(1, false))});
    return samples;
}

std::vector<PortFacts> without_chains() {
    std::vector<PortFacts> facts = edge_facts();
    facts[0].can_send_chains = false;
    return facts;
}

class SegmentsTest : public DriversTest {
  protected:
    struct Outcome {
        std::vector<Bytes> sent;
        std::uint64_t segmented = 0, other_drops = 0;
        bool sent_a_chain = false;
    };
    Outcome run(SmallWorld& world, rte_mbuf* packet) {
        const WorkerCounters& counters = world.worker().counters();
        const std::uint64_t segmented = dropped(counters, DropReason::segmented);
        const std::uint64_t all = dropped_in_all(counters);
        world.worker().run({&packet, 1}, Tick{1});
        Outcome outcome;
        for (const rte_mbuf* sent : world.worker().wire().taken) {
            outcome.sent_a_chain |= sent->nb_segs > 1;
            rte_mbuf_sanity_check(sent, 1);
        }
        outcome.sent = world.worker().take();
        outcome.segmented = dropped(counters, DropReason::segmented) - segmented;
        outcome.other_drops = dropped_in_all(counters) - all - outcome.segmented;
        return outcome;
    }
    // True if the chain was forwarded or answered.
    bool expect_like_flat(SmallWorld& world, const Sample& sample, const std::vector<Bytes>& flat,
                          const std::vector<std::size_t>& cuts) {
        const Outcome outcome = run(world, frames_.chain(sample.frame, cuts));
        const std::string where =
            sample.name + ", first cut at " + std::to_string(cuts[0]) + " of " + std::to_string(cuts.size());
        EXPECT_EQ(outcome.other_drops, 0u) << where;
        EXPECT_EQ(outcome.sent.size() + outcome.segmented, 1u) << where;
        if (outcome.segmented == 0) {
            EXPECT_EQ(outcome.sent, flat) << where;
        }
        EXPECT_EQ(frames_.in_use(), 0u) << where;
        return outcome.segmented == 0;
    }
    FramePool frames_{"segments", 1023};
};

TEST_F(SegmentsTest, cut_in_two_at_each_byte_is_like_flat_or_segmented) {
    SmallWorld world(all_modes_config());
    unsigned passed = 0, segmented = 0;
    for (const Sample& sample : every_kind()) {
        const std::vector<Bytes> flat = run(world, frames_.frame(sample.frame)).sent;
        ASSERT_EQ(flat.size(), 1u) << sample.name;
        for (std::size_t cut = 1; cut <= 120 && cut < sample.frame.size(); ++cut)
            (expect_like_flat(world, sample, flat, {cut}) ? passed : segmented) += 1;
    }
    world.expect_consistent();
    EXPECT_GT(passed, 1000u);
    EXPECT_GT(segmented, 1000u);
    print_figure("%u chains of two: %u like the flat frame, %u dropped as segmented", passed + segmented,
                 passed, segmented);
}

TEST_F(SegmentsTest, headers_in_the_first_segment_are_enough) {
    SmallWorld world(all_modes_config());
    for (const Sample& sample : every_kind()) {
        if (sample.name.starts_with("nd")) continue;  // a solicitation is answered only in one piece
        const bool v4 = sample.frame[12] == 8 && sample.frame[13] == 0;
        const std::size_t l4 = sample.frame[13] == 6 ? 28 : v4 ? 20 : 40;
        const std::size_t headers = 14 + l4 +
                                    (sample.name.starts_with("tcp") ? 20
                                     : sample.frame[13] == 6        ? 0
                                                                    : 8);
        const std::vector<Bytes> flat = run(world, frames_.frame(sample.frame)).sent;
        EXPECT_TRUE(expect_like_flat(world, sample, flat, {headers})) << sample.name;
        EXPECT_FALSE(expect_like_flat(world, sample, flat, {headers - 1})) << sample.name;
    }
}

TEST_F(SegmentsTest, up_to_eight_segments_cut_anywhere) {
    SmallWorld world(all_modes_config());
    std::uint64_t random = 42;
    unsigned passed = 0;
    for (const Sample& sample : every_kind()) {
        const std::vector<Bytes> flat = run(world, frames_.frame(sample.frame)).sent;
        for (std::size_t segments = 1; segments <= 8; ++segments)
            for (unsigned round = 0; round < 24; ++round) {
                std::vector<std::size_t> cuts;
                // Half of the rounds leave the headers whole, else most chains end at the first check.
                const std::size_t first =
                    round % 2 == 0 ? 1 : std::min<std::size_t>(74, sample.frame.size() - 1);
                while (cuts.size() + 1 < segments) {
                    random = random * 6364136223846793005u + 1442695040888963407u;
                    cuts.push_back(first + (random >> 33) % (sample.frame.size() - first));
                }
                if (cuts.empty()) cuts.push_back(sample.frame.size() / 2);
                std::sort(cuts.begin(), cuts.end());  // equal cuts make empty segments
                passed += expect_like_flat(world, sample, flat, cuts) ? 1 : 0;
            }
    }
    EXPECT_GT(passed, 1000u);
    world.expect_consistent();
}

TEST_F(SegmentsTest, a_device_that_sends_no_chains_gets_none) {
    SmallWorld world(all_modes_config(), without_chains());
    for (const Sample& sample : every_kind()) {
        const Outcome flat = run(world, frames_.frame(sample.frame));
        ASSERT_EQ(flat.sent.size(), 1u) << sample.name;
        EXPECT_FALSE(flat.sent_a_chain);
        for (std::size_t cut = 1; cut < sample.frame.size(); ++cut) {
            const Outcome outcome = run(world, frames_.chain(sample.frame, {cut}));
            EXPECT_EQ(outcome.segmented, 1u) << sample.name << ", cut at " << cut;
            EXPECT_TRUE(outcome.sent.empty()) << sample.name << ", cut at " << cut;
        }
        EXPECT_EQ(frames_.in_use(), 0u);
    }
    world.expect_consistent();
}

}  // namespace
}  // namespace weir::test
