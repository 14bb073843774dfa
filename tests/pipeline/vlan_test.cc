// VLAN tags, from the device to the device: whose a frame is, what it is without its tags, and the tags that
// leave. Frames are built tag by tag, so that the test knows what was put in.
#include <random>

#include "dataplane/stages/untag.h"
#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

constexpr std::uint16_t kDot1q = 0x8100, kDot1ad = 0x88a8;
constexpr std::uint64_t kVlanStripped = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
constexpr std::uint64_t kQinqStripped = kVlanStripped | RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED;

struct Tag {
    std::uint16_t type = kDot1q, control = 0;
    [[nodiscard]] unsigned id() const { return control & 0xfffu; }
};

Bytes with_tags(const Bytes& frame, std::span<const Tag> tags) {
    Bytes tagged(frame.begin(), frame.begin() + 12);
    for (const Tag& tag : tags) {
        append_word(tagged, tag.type);
        append_word(tagged, tag.control);
    }
    append(tagged, std::span(frame).subspan(12));
    return tagged;
}

// What a device does that takes the first tags off.
void strip(rte_mbuf* packet, std::span<const Tag> tags) {
    if (tags.empty()) return;
    packet->ol_flags |= tags.size() == 2 ? kQinqStripped : kVlanStripped;
    packet->vlan_tci = tags.back().control;
    packet->vlan_tci_outer = tags.front().control;
}

// A frame that arrives, and what it is: the tags that the wire had, of which the device took off the first.
struct Arrival {
    Bytes untagged;
    std::vector<Tag> tags;
    std::size_t stripped = 0;
    std::size_t length = 0;         // of what arrives: shorter than the frame, where it is cut
    std::size_t first_segment = 0;  // 0: in one piece
};

// By IEEE 802.1Q, and the rule for priority tags. nullopt: no port can have them.
std::optional<VlanTags> vlan_of(const Arrival& arrival) {
    const auto& tags = arrival.tags;
    for (std::size_t i = arrival.stripped; i < tags.size(); ++i)
        if (tags[i].type == kDot1ad && (i != 0 || tags.size() == 1)) return std::nullopt;
    if (tags.empty() || (tags.size() == 1 && tags[0].id() == 0)) return VlanTags{};
    if (tags.size() == 1) return VlanTags{static_cast<std::uint16_t>(tags[0].id())};
    if (tags.size() > 2 || tags[0].id() == 0 || tags[1].id() == 0) return std::nullopt;
    return VlanTags{static_cast<std::uint16_t>(tags[0].id()), static_cast<std::uint16_t>(tags[1].id())};
}

class VlanTest : public DriversTest {
  protected:
    Arrival random_arrival() {
        Arrival arrival;
        arrival.untagged.resize(14 + chance(60));
        for (std::uint8_t& byte : arrival.untagged) byte = static_cast<std::uint8_t>(random_());
        put_word(arrival.untagged, 12, chance(2) == 0 ? 0x0800 : 0x86dd);
        constexpr std::uint16_t kIds[] = {0, 10, 20, 300, 4095};
        arrival.tags.resize(chance(4));
        for (Tag& tag : arrival.tags) {
            tag.type = chance(4) == 0 ? kDot1ad : kDot1q;
            tag.control = static_cast<std::uint16_t>((chance(16) << 12) | kIds[chance(5)]);
        }
        if (chance(4) == 0)
            arrival.stripped =
                chance(static_cast<unsigned>(std::min<std::size_t>(arrival.tags.size(), 2)) + 1);
        arrival.length = wire_bytes_of(arrival).size();
        if (chance(8) == 0) arrival.length = std::min<std::size_t>(1 + chance(30), arrival.length);
        if (chance(8) == 0) arrival.first_segment = 1 + chance(30);
        if (arrival.first_segment >= arrival.length) arrival.first_segment = 0;
        return arrival;
    }
    static Bytes wire_bytes_of(const Arrival& arrival) {
        return with_tags(arrival.untagged, std::span(arrival.tags).subspan(arrival.stripped));
    }
    rte_mbuf* mbuf_of(const Arrival& arrival) {
        Bytes bytes = wire_bytes_of(arrival);
        bytes.resize(arrival.length);
        rte_mbuf* packet =
            arrival.first_segment != 0 ? frames_.chain(bytes, {arrival.first_segment}) : frames_.frame(bytes);
        strip(packet, std::span(arrival.tags).first(arrival.stripped));
        return packet;
    }
    unsigned chance(unsigned below) { return static_cast<unsigned>(random_() % below); }

    std::mt19937_64 random_{7};
    FramePool frames_{"vlan", 2047};
};

struct Expected {
    std::optional<PortId> port;
    std::vector<DropReason> reasons;  // any of them
    Bytes bytes;
};

Expected expected_of(const Arrival& arrival, const DevicePorts& ports) {
    const std::size_t headers = 14 + 4 * (arrival.tags.size() - arrival.stripped);
    if (arrival.length < 14) return {{}, {DropReason::runt_frame}, {}};
    if (arrival.first_segment != 0 && arrival.first_segment < 14) return {{}, {DropReason::segmented}, {}};
    if (arrival.length < headers) return {{}, {DropReason::vlan_tag, DropReason::segmented}, {}};
    const auto vlan = vlan_of(arrival);
    if (arrival.first_segment != 0 && arrival.first_segment < headers)
        return {{}, {DropReason::vlan_tag, DropReason::segmented}, {}};
    const PortId port = vlan ? ports.find(*vlan) : kNoPort;
    if (port == kNoPort) return {{}, {DropReason::vlan_tag}, {}};
    const std::size_t left = arrival.length - 4 * (arrival.tags.size() - arrival.stripped);
    return {port,
            {},
            Bytes(arrival.untagged.begin(), arrival.untagged.begin() + static_cast<std::ptrdiff_t>(left))};
}

// A burst of random frames through untag, each judged.
class UntagTest : public VlanTest {
  protected:
    void run_burst(const DevicePorts& ports) {
        arrivals_.clear();
        Burst burst(ports.first());
        for (const std::uint32_t size = chance(kBurstSize + 1); burst.size < size; ++burst.size) {
            const Arrival arrival = random_arrival();
            burst.packet[burst.size] = mbuf_of(arrival);
            arrivals_.emplace(burst.packet[burst.size], arrival);
        }
        received_ += burst.size;
        std::array<std::uint64_t, kDropReasons> before;
        for (std::size_t r = 0; r < kDropReasons; ++r) before[r] = counters_->dropped[r].value();
        std::size_t bursts = 0;
        untag(burst, ports, *counters_, [&](Burst& of_port) {
            ++bursts;
            judge_delivered(burst, of_port, ports);
        });
        EXPECT_LE(bursts, ports.all().size()) << "a burst a port";
        judge_dropped(before, ports);
    }
    // Takes them out of arrivals_.
    void judge_delivered(const Burst& arrived, const Burst& of_port, const DevicePorts& ports) {
        EXPECT_GT(of_port.size, 0u);
        std::ptrdiff_t last = -1;
        for (std::uint32_t i = 0; i < of_port.size; ++i, ++delivered_) {
            rte_mbuf* packet = of_port.packet[i];
            const auto at = std::find(arrived.packet.begin(), arrived.packet.begin() + arrived.size, packet) -
                            arrived.packet.begin();
            EXPECT_GT(at, last) << "a port's frames are in the order of their arrival";
            last = at;
            const Expected expected = expected_of(arrivals_.at(packet), ports);
            EXPECT_EQ(expected.port, of_port.port);
            EXPECT_EQ(expected.bytes, bytes_of(*packet));
            EXPECT_FALSE(has_stripped_tag(packet));
            rte_mbuf_sanity_check(packet, 1);
            arrivals_.erase(packet);
            rte_pktmbuf_free(packet);
        }
    }
    // What is left has been dropped, for a reason that is true.
    void judge_dropped(const std::array<std::uint64_t, kDropReasons>& before, const DevicePorts& ports) {
        std::array<std::uint64_t, kDropReasons> least{};
        for (const auto& [packet, arrival] : arrivals_) {
            const Expected expected = expected_of(arrival, ports);
            EXPECT_FALSE(expected.port);
            if (expected.reasons.size() == 1) ++least[static_cast<std::size_t>(expected.reasons[0])];
        }
        std::uint64_t all = 0;
        for (std::size_t r = 0; r < kDropReasons; ++r) {
            const std::uint64_t dropped_now = counters_->dropped[r].value() - before[r];
            EXPECT_GE(dropped_now, least[r]) << kDropReasonNames[r];
            all += dropped_now;
        }
        EXPECT_EQ(all, arrivals_.size());
        refused_ += all;
    }

    std::unique_ptr<WorkerCounters> counters_ = std::make_unique<WorkerCounters>();
    std::map<rte_mbuf*, Arrival> arrivals_;
    std::uint64_t received_ = 0, delivered_ = 0, refused_ = 0;
};

TEST_F(UntagTest, random_frames_reach_their_port_untagged_or_are_dropped_with_a_reason) {
    DevicePorts with_untagged, vlans_only;
    with_untagged.add(PortId{3}, {});
    for (DevicePorts* ports : {&with_untagged, &vlans_only}) {
        ports->add(PortId{5}, {10});
        ports->add(PortId{0}, {300});
        ports->add(PortId{7}, {300, 10});
        ports->add(PortId{15}, {20, 20});
    }
    for (unsigned round = 0; round < 4000; ++round) {
        run_burst(round % 2 == 0 ? with_untagged : vlans_only);
        ASSERT_EQ(frames_.in_use(), 0u);
        ASSERT_FALSE(HasFailure()) << "round " << round;
    }
    EXPECT_EQ(counters_->received.value(), refused_) << "who is handed on is counted where he goes";
    EXPECT_EQ(received_, delivered_ + refused_);
    EXPECT_GT(delivered_, received_ / 10);
    print_figure("%lu frames: %lu to their ports, %lu dropped", received_, delivered_, refused_);
}

TEST_F(VlanTest, tags_go_in_front_and_come_off_again) {
    for (unsigned round = 0; round < 2000; ++round) {
        const VlanTags tags{static_cast<std::uint16_t>(1 + chance(4094)),
                            static_cast<std::uint16_t>(chance(2) * (1 + chance(4094)))};
        std::vector<rte_mbuf*> packets;
        std::vector<Bytes> untagged;
        for (unsigned left = chance(8); left > 0; --left) {
            untagged.push_back(frame_of(60 + chance(1500), static_cast<std::uint8_t>(left)));
            put_word(untagged.back(), 12, 0x0800);
            packets.push_back(chance(2) == 0 ? frames_.frame(untagged.back())
                                             : frames_.chain(untagged.back(), {14 + chance(40)}));
        }
        put_tags(packets, tags);
        std::vector<Tag> expected = {{kDot1q, tags.outer}};
        if (tags.inner != 0) expected = {{kDot1ad, tags.outer}, {kDot1q, tags.inner}};
        for (std::size_t n = 0; n < packets.size(); ++n) {
            EXPECT_EQ(bytes_of(*packets[n]), with_tags(untagged[n], expected));
            const FrameTags read = read_tags(packets[n]);
            EXPECT_EQ(read.reason, kNotDropped);
            EXPECT_EQ(read.ids, tags);
            remove_tags(packets[n], read.bytes);
            EXPECT_EQ(bytes_of(*packets[n]), untagged[n]);
            rte_mbuf_sanity_check(packets[n], 1);
            rte_pktmbuf_free(packets[n]);
        }
    }
    EXPECT_EQ(frames_.in_use(), 0u);
}

// --- through the pipeline ---

// all_modes_config(), whose backends are behind "edge"; beside it "blue", with a server of its own.
Config vlan_config() {
    Config config = all_modes_config();
    PortConfig blue;
    blue.name = "blue";
    blue.addresses = {prefix("10.9.0.2/24")};
    config.ports.push_back(blue);
    add_neighbor(config, "10.9.0.11", "02:00:00:00:09:11", "blue");
    config.pools.push_back(pool("blue", {backend("a", "10.9.0.11")}));
    config.services.push_back(service("blue", "203.0.113.9", "blue", ForwardingMode::dsr));
    return config;
}
std::vector<PortFacts> vlan_facts(VlanTags edge, VlanTags blue) {
    PortFacts facts = edge_facts()[0];
    facts.vlan = edge;
    std::vector<PortFacts> all = {facts, facts};
    all[1].vlan = blue;
    return all;
}

TEST_F(VlanTest, what_leaves_a_vlan_port_has_its_tags_and_is_else_what_an_untagged_port_sends) {
    SmallWorld plain(vlan_config(), vlan_facts({}, {}));
    SmallWorld tagged(vlan_config(), vlan_facts({100}, {300, 10}));
    const std::vector<Tag> edge = {{kDot1q, 100}}, blue = {{kDot1ad, 300}, {kDot1q, 10}};
    std::vector<Bytes> frames;
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true}) {
            frames.push_back(tcp_frame(client_flow(mode, mode_vip(mode, v6)), kSyn, 30));
            frames.push_back(echo_request(ip(v6 ? "2001:db8:9::1" : "198.18.0.1"), mode_vip(mode, v6), 40));
        }
    frames.push_back(arp_request(ip("10.1.0.1"), mode_vip(1, false)));
    frames.push_back(neighbor_solicitation(ip("fd00:1::99"), mode_vip(1, true)));
    frames.push_back(tcp_frame(client_flow(1, ip("203.0.113.9")), kSyn));
    for (const Bytes& frame : frames)
        for (const PortId port : {PortId{0}, PortId{1}}) {
            rte_mbuf* one[] = {frames_.frame(frame)};
            plain.worker().run(one, Tick{1}, port);
            one[0] = frames_.frame(frame);
            tagged.worker().run(one, Tick{1}, port);
            for (const PortId out : {PortId{0}, PortId{1}}) {
                std::vector<Bytes> expected = plain.worker().take(out);
                for (Bytes& sent : expected) sent = with_tags(sent, out == PortId{0} ? edge : blue);
                EXPECT_EQ(tagged.worker().take(out), expected);
            }
        }
    EXPECT_EQ(tagged.worker().counters().forwarded.value(), 2 * (2 * kModes + 1));
    EXPECT_EQ(tagged.worker().counters().answered.value(), 2 * (2 * kModes + 2));
    EXPECT_EQ(frames_.in_use(), 0u);
    tagged.expect_consistent();
}

TEST_F(VlanTest, headroom_that_lacks_a_byte_for_the_tags_is_a_drop) {
    constexpr std::size_t kTunnelLength[kModes] = {0, 20, 40, 20 + 8 + 4, 40 + 8 + 4};
    for (const VlanTags tags : {VlanTags{100}, VlanTags{300, 10}})
        for (unsigned mode = 1; mode <= kModes; ++mode)
            for (const std::size_t missing : {0u, 1u}) {
                SmallWorld world(vlan_config(), vlan_facts(tags, {}));
                rte_mbuf* packet = frames_.frame(udp_frame(client_flow(1, mode_vip(mode, false)), 64));
                const Bytes bytes = bytes_of(*packet);
                packet->data_off =
                    static_cast<std::uint16_t>(kTunnelLength[mode - 1] + tags.bytes() - missing);
                std::copy(bytes.begin(), bytes.end(), frame_start(packet));
                world.worker().run({&packet, 1}, Tick{1});
                EXPECT_EQ(dropped(world.worker().counters(), DropReason::no_headroom), missing);
                EXPECT_EQ(world.worker().take().size(), 1 - missing);
                world.expect_consistent();
            }
    EXPECT_EQ(frames_.in_use(), 0u);
}

TEST_F(VlanTest, an_untagged_port_takes_priority_tags_and_no_other) {
    SmallWorld world(all_modes_config());
    const Bytes frame = tcp_frame(client_flow(1, mode_vip(1, false)), kSyn);
    const auto verdict = [&](std::vector<Tag> tags, std::size_t stripped) {
        rte_mbuf* packet = frames_.frame(with_tags(frame, std::span(tags).subspan(stripped)));
        strip(packet, std::span(tags).first(stripped));
        const std::uint64_t before = dropped(world.worker().counters(), DropReason::vlan_tag);
        world.worker().run({&packet, 1}, Tick{1});
        const std::vector<Bytes> sent = world.worker().take();
        const bool is_forwarded = sent.size() == 1 && sent[0].size() == frame.size();
        const bool is_dropped = dropped(world.worker().counters(), DropReason::vlan_tag) == before + 1;
        EXPECT_NE(is_forwarded, is_dropped);
        return is_forwarded;
    };
    for (const std::size_t stripped : {0u, 1u}) {
        EXPECT_TRUE(verdict({{kDot1q, 0}}, stripped));
        EXPECT_TRUE(verdict({{kDot1q, 0xf000}}, stripped));
        EXPECT_FALSE(verdict({{kDot1q, 1}}, stripped));
        EXPECT_FALSE(verdict({{kDot1q, 0xefff}}, stripped));
        EXPECT_FALSE(verdict({{kDot1q, 0}, {kDot1q, 0}}, stripped));
        EXPECT_FALSE(verdict({{kDot1q, 0}, {kDot1q, 5}}, stripped));
    }
    EXPECT_FALSE(verdict({{kDot1ad, 0}}, 0));
    EXPECT_FALSE(verdict({{kDot1ad, 0}, {kDot1q, 0}}, 2));
    EXPECT_EQ(frames_.in_use(), 0u);
    world.expect_consistent();
}

}  // namespace
}  // namespace weir::test
