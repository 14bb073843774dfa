#include "ctrl/announce/announcer.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "ctrl/announce/announcement_frame.h"
#include "tests/ctrl/config_builder.h"
#include "tests/support/packet_builder.h"

namespace weir {
namespace {

using namespace std::chrono_literals;
using test::Bytes;

constexpr PortId kEdge{0}, kInner{1};

// An announcer of two ports, whose clock the test turns.
struct Bench {
    struct Sent {
        PortId port;
        IpAddress vip;
        std::chrono::milliseconds at;
    };
    std::chrono::milliseconds clock{0};
    bool takes = true;
    std::vector<Sent> sent;
    Announcer announcer{2, [this](PortId port, const IpAddress& vip) {
                            if (takes) sent.push_back({port, vip, clock});
                            return takes;
                        }};

    [[nodiscard]] Announcer::Time now() const { return Announcer::Time(clock); }
    void run(std::chrono::milliseconds time, std::chrono::milliseconds step = 10ms) {
        for (const auto end = clock + time; clock < end; clock += step) announcer.tick(now());
    }
    void up(PortId port, bool is_up = true) { announcer.set_link(port, is_up, now()); }
    std::vector<std::chrono::milliseconds> times(PortId port, std::string_view vip) const {
        std::vector<std::chrono::milliseconds> found;
        for (const Sent& one : sent)
            if (one.port == port && one.vip == ip(vip)) found.push_back(one.at);
        return found;
    }
};

std::vector<AnnouncedVip> vips(std::initializer_list<std::string_view> texts) {
    std::vector<AnnouncedVip> list;
    for (const std::string_view text : texts) list.push_back({ip(text), std::nullopt});
    return list;
}

// Addresses 10.0.0.0 and on.
std::vector<AnnouncedVip> many_vips(std::uint32_t number) {
    std::vector<AnnouncedVip> list;
    for (std::uint32_t i = 0; i < number; ++i)
        list.push_back({IpAddress(Ipv4Address{Be32(0x0a00'0000 + i)}), std::nullopt});
    return list;
}

using Times = std::vector<std::chrono::milliseconds>;

TEST(Announcer, ArpTwiceTwoSecondsApart) {
    Bench bench;
    bench.up(kEdge);
    bench.announcer.activate(vips({"203.0.113.10"}), bench.now());
    bench.run(10s);
    EXPECT_EQ(bench.times(kEdge, "203.0.113.10"), (Times{0ms, 2000ms}));
    EXPECT_TRUE(bench.times(kInner, "203.0.113.10").empty()) << "its link is down";
    EXPECT_EQ(bench.announcer.waiting(), 0u);
}

TEST(Announcer, AdvertisementsThriceASecondApart) {
    Bench bench;
    bench.up(kEdge);
    bench.announcer.activate(vips({"2001:db8::10"}), bench.now());
    bench.run(10s);
    EXPECT_EQ(bench.times(kEdge, "2001:db8::10"), (Times{0ms, 1000ms, 2000ms}));
}

TEST(Announcer, EachPortThatIsUp) {
    Bench bench;
    bench.up(kEdge);
    bench.up(kInner);
    bench.announcer.activate(vips({"203.0.113.10"}), bench.now());
    bench.announcer.activate({{ip("10.1.2.2"), kInner}}, bench.now());
    bench.run(1s);
    EXPECT_EQ(bench.times(kEdge, "203.0.113.10").size(), 1u);
    EXPECT_EQ(bench.times(kInner, "203.0.113.10").size(), 1u);
    EXPECT_TRUE(bench.times(kEdge, "10.1.2.2").empty()) << "the other port's own address";
    EXPECT_EQ(bench.times(kInner, "10.1.2.2").size(), 1u);
}

TEST(Announcer, LinkUpAnnouncesAllAnew) {
    Bench bench;
    bench.announcer.activate(vips({"203.0.113.10", "203.0.113.11"}), bench.now());
    bench.run(5s);
    EXPECT_TRUE(bench.sent.empty());
    bench.up(kEdge);
    bench.up(kEdge);  // no change
    bench.run(1s);
    EXPECT_EQ(bench.times(kEdge, "203.0.113.10"), (Times{5000ms}));
    EXPECT_EQ(bench.sent.size(), 2u);
    bench.up(kEdge, false);
    EXPECT_EQ(bench.announcer.waiting(), 0u) << "its repetition too";
    bench.run(5s);
    EXPECT_EQ(bench.sent.size(), 2u);
    bench.up(kEdge);
    bench.run(10s);
    EXPECT_EQ(bench.times(kEdge, "203.0.113.11"), (Times{5000ms, 11000ms, 13000ms}));
}

TEST(Announcer, AReloadAnnouncesOnlyWhatIsNew) {
    Bench bench;
    bench.up(kEdge);
    bench.announcer.activate(vips({"203.0.113.10"}), bench.now());
    bench.run(10s);
    bench.announcer.activate(vips({"203.0.113.10", "203.0.113.11"}), bench.now());
    bench.run(10s);
    EXPECT_EQ(bench.times(kEdge, "203.0.113.10").size(), 2u);
    EXPECT_EQ(bench.times(kEdge, "203.0.113.11"), (Times{10000ms, 12000ms}));
}

TEST(Announcer, AWithdrawnVipIsSilentAtOnce) {
    Bench bench;
    bench.up(kEdge);
    bench.announcer.activate(vips({"203.0.113.10", "2001:db8::10"}), bench.now());
    bench.run(500ms);
    ASSERT_EQ(bench.sent.size(), 2u);
    bench.announcer.withdraw_all_but(vips({"203.0.113.10"}));
    bench.run(10s);
    EXPECT_EQ(bench.times(kEdge, "2001:db8::10").size(), 1u);
    EXPECT_EQ(bench.times(kEdge, "203.0.113.10").size(), 2u);
    bench.up(kEdge, false);
    bench.up(kEdge);
    bench.run(10s);
    EXPECT_EQ(bench.times(kEdge, "2001:db8::10").size(), 1u) << "nor when the link comes back";
    bench.announcer.activate(vips({"203.0.113.10", "2001:db8::10"}), bench.now());
    bench.run(10s);
    EXPECT_EQ(bench.times(kEdge, "2001:db8::10").size(), 4u) << "active again";
}

TEST(Announcer, NoBurst) {
    constexpr std::uint32_t kVips = 65'535;
    Bench bench;
    bench.up(kEdge);
    bench.announcer.activate(many_vips(kVips), bench.now());
    bench.run(140s);
    ASSERT_EQ(bench.sent.size(), 2 * kVips);
    std::map<std::int64_t, int> per_second, per_tick;
    for (const Bench::Sent& one : bench.sent) {
        ++per_second[one.at / 1s];
        ++per_tick[one.at / 10ms];
    }
    for (const auto& [second, number] : per_second) EXPECT_LE(number, 1'020) << "in second " << second;
    for (const auto& [tick, number] : per_tick) EXPECT_LE(number, Announcer::kMostAtOnce) << tick;
    EXPECT_EQ(bench.sent[kVips - 1].vip, many_vips(kVips).back().address) << "each once before any twice";
    EXPECT_LT(bench.sent[kVips - 1].at, 66s);
}

TEST(Announcer, ALateTickDoesNotCatchUpInABurst) {
    Bench bench;
    bench.up(kEdge);
    bench.announcer.activate(many_vips(1'000), bench.now());
    bench.announcer.tick(bench.now());
    bench.clock += 5s;
    const std::size_t before = bench.sent.size();
    bench.announcer.tick(bench.now());
    EXPECT_LE(bench.sent.size() - before, static_cast<std::size_t>(Announcer::kMostAtOnce));
}

TEST(Announcer, WhatIsNotTakenIsSentLater) {
    Bench bench;
    bench.up(kEdge);
    bench.takes = false;
    bench.announcer.activate(vips({"203.0.113.10"}), bench.now());
    bench.run(1s);
    EXPECT_EQ(bench.announcer.waiting(), 1u);
    bench.takes = true;
    bench.run(10s);
    EXPECT_EQ(bench.times(kEdge, "203.0.113.10"), (Times{1000ms, 3000ms}));
}

TEST(Announcer, LinkThatFlapsDoesNotPileUp) {
    Bench bench;
    bench.announcer.activate(many_vips(1'000), bench.now());
    for (int i = 0; i < 100; ++i) {
        bench.up(kEdge);
        bench.run(20ms);
        bench.up(kEdge, false);
    }
    EXPECT_EQ(bench.announcer.waiting(), 0u);
    bench.up(kEdge);
    EXPECT_EQ(bench.announcer.waiting(), 1'000u);
}

TEST(AnnouncementFrame, ArpIsARequestForItself) {
    const Bytes frame = announcement_frame(ip("203.0.113.10"), mac("02:00:00:00:00:01"));
    Bytes expected = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,   0, 0,   0,  0, 1,  // to all, from weir
                      0x08, 0x06, 0,    1,    8,    0,    6,   4, 0,   1,    // ARP, Ethernet, IPv4, request
                      2,    0,    0,    0,    0,    1,    203, 0, 113, 10,   // sender
                      0,    0,    0,    0,    0,    0,    203, 0, 113, 10};  // target
    expected.resize(60);
    EXPECT_EQ(frame, expected);
}

TEST(AnnouncementFrame, AdvertisementOverridesAndIsBelieved) {
    const Bytes frame = announcement_frame(ip("2001:db8::10"), mac("02:00:00:00:00:01"));
    ASSERT_EQ(frame.size(), 86u);
    const Bytes head = {0x33, 0x33, 0, 0, 0,    1,    2,  0,
                        0,    0,    0, 1, 0x86, 0xdd,            // all nodes, from weir, IPv6
                        0x60, 0,    0, 0, 0,    32,   58, 255};  // 32 bytes of ICMPv6, hop limit 255
    EXPECT_TRUE(std::equal(head.begin(), head.end(), frame.begin()));
    const std::span<const std::uint8_t> source(frame.data() + 22, 16), icmp(frame.data() + 54, 32);
    EXPECT_TRUE(std::ranges::equal(source, test::wire_bytes(ip("2001:db8::10"))));
    EXPECT_TRUE(std::ranges::equal(std::span(frame).subspan(38, 16), test::wire_bytes(ip("ff02::1"))));
    EXPECT_EQ(icmp[0], 136);
    EXPECT_EQ(icmp[4], 0x20) << "override; neither router nor solicited";
    EXPECT_TRUE(std::ranges::equal(icmp.subspan(8, 16), test::wire_bytes(ip("2001:db8::10"))));
    const Bytes option = {2, 1, 2, 0, 0, 0, 0, 1};
    EXPECT_TRUE(std::ranges::equal(icmp.subspan(24), option));
    Bytes summed(frame.begin() + 22, frame.begin() + 54);
    test::append(summed, Bytes{0, 0, 0, 32, 0, 0, 0, 58});
    summed.insert(summed.end(), icmp.begin(), icmp.end());
    EXPECT_EQ(test::internet_checksum(summed), 0);
}

}  // namespace
}  // namespace weir
