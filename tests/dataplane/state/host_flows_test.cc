// Who may come up to the kernel as one that it talks to, from frames made byte by byte.
#include "dataplane/state/host_flows.h"

#include <gtest/gtest.h>

#include <random>

#include "dataplane/net/address_text.h"
#include "tests/support/packet_builder.h"
#include "tests/support/sanitized.h"

namespace weir::test {
namespace {

constexpr std::size_t kEthernet = 14;

IpAddress at(std::string_view text) { return parse_ip_address(text).value(); }

Tuple session(bool v6, std::uint16_t ours = 40'000, std::uint16_t theirs = 179) {
    return {.source = at(v6 ? "fd00:1::2" : "10.1.0.2"),
            .destination = at(v6 ? "fd00:1::1" : "10.1.0.1"),
            .source_port = ours,
            .destination_port = theirs};
}
Tuple turned(const Tuple& tuple) {
    return {.source = tuple.destination,
            .destination = tuple.source,
            .source_port = tuple.destination_port,
            .destination_port = tuple.source_port};
}

class HostFlowsTest : public testing::Test {
  protected:
    void send(const Bytes& frame, Tick now = Tick{100}) {
        // Ends where its mapping ends, so that the sanitizer sees a read too far.
        const std::vector<std::uint8_t> exact(frame);
        flows_->note_sent(bytes_of(exact), now);
    }
    [[nodiscard]] bool knows(const Bytes& received, Tick now = Tick{100}) const {
        const bool v6 = word_at(received, 12) == 0x86dd;
        const PacketBytes whole = bytes_of(received);
        const PacketBytes packet{whole.data + kEthernet, whole.contiguous - 14u, whole.length - 14u};
        L4Location l4;
        if (v6) return find_l4(packet, V6{}, l4) == kNotDropped && flows_->is_known<V6>(packet, l4, now);
        return find_l4(packet, V4{}, l4) == kNotDropped && flows_->is_known<V4>(packet, l4, now);
    }
    static PacketBytes bytes_of(const Bytes& frame) {
        const auto size = static_cast<std::uint32_t>(frame.size());
        return {frame.data(), size, size};
    }
    std::unique_ptr<HostFlows> flows_ = std::make_unique<HostFlows>(HashKey::zero());
};

TEST_F(HostFlowsTest, an_answer_is_known_and_nothing_beside_it) {
    for (const bool v6 : {false, true}) {
        const Tuple ours = session(v6), theirs = turned(ours);
        EXPECT_FALSE(knows(tcp_frame(theirs, kAck)));
        send(tcp_frame(ours, kAck, 19));
        EXPECT_TRUE(knows(tcp_frame(theirs, kAck)));
        EXPECT_TRUE(knows(tcp_frame(theirs, kRst)));
        EXPECT_FALSE(knows(udp_frame(theirs)));
        for (const std::uint16_t other : {std::uint16_t{39'999}, std::uint16_t{40'001}}) {
            Tuple guess = theirs;
            guess.destination_port = other;
            EXPECT_FALSE(knows(tcp_frame(guess, kAck)));
        }
    }
}

TEST_F(HostFlowsTest, what_the_kernel_says_to_anybody_opens_nothing) {
    for (const bool v6 : {false, true}) {
        const Tuple ours = session(v6, 22, 50'000);
        for (const int flags : {kSyn | kAck, int{kRst}, kRst | kAck}) {
            send(tcp_frame(ours, static_cast<std::uint8_t>(flags)));
            EXPECT_FALSE(knows(tcp_frame(turned(ours), kAck))) << flags;
        }
        const Tuple resolver = session(v6, 53, 50'000);
        send(udp_frame(resolver, 40));
        EXPECT_FALSE(knows(udp_frame(turned(resolver), 40))) << "a server answers whoever is forged";
        send(echo_request(ours.source, ours.destination, 40));
        EXPECT_FALSE(flows_->was_asked(at("10.1.0.1").v4(), Tick{100}));
    }
    const Tuple client = session(false, 32'768, 53);
    send(udp_frame(client, 40));
    EXPECT_TRUE(knows(udp_frame(turned(client), 40)));
}

TEST_F(HostFlowsTest, a_flow_is_forgotten_when_the_kernel_falls_silent) {
    const Tuple ours = session(false);
    const Bytes theirs = tcp_frame(turned(ours), kAck);
    const Tick start{0xffff'ff00};  // the clock wraps meanwhile
    send(tcp_frame(ours, kSyn), start);
    EXPECT_TRUE(knows(theirs, start + (HostFlows::kOpeningTicks - 2)));
    EXPECT_FALSE(knows(theirs, start + HostFlows::kOpeningTicks));
    send(tcp_frame(ours, kAck), start);
    EXPECT_TRUE(knows(theirs, start + (HostFlows::kTcpTicks - 2)));
    EXPECT_FALSE(knows(theirs, start + HostFlows::kTcpTicks));
    const Tick later = start + (HostFlows::kTcpTicks - 64);
    send(tcp_frame(ours, kAck), later);
    EXPECT_TRUE(knows(theirs, later + (HostFlows::kTcpTicks - 2)));
    send(tcp_frame(ours, kFin | kAck), later);
    send(tcp_frame(ours, kAck), later);
    EXPECT_TRUE(knows(theirs, later));
    EXPECT_FALSE(knows(theirs, later + HostFlows::kClosingTicks)) << "the last ACK keeps nothing";
}

TEST_F(HostFlowsTest, neighbours_that_the_kernel_asks_are_known) {
    const IpAddress us = at("10.1.0.2"), router = at("10.1.0.1"), other = at("10.1.0.3");
    send(arp_request(us, router));
    EXPECT_TRUE(flows_->was_asked(router.v4(), Tick{100}));
    EXPECT_FALSE(flows_->was_asked(us.v4(), Tick{100}));
    EXPECT_FALSE(flows_->was_asked(other.v4(), Tick{100}));
    EXPECT_FALSE(flows_->was_asked(router.v4(), Tick{100} + HostFlows::kNeighborTicks));
    Bytes reply = arp_request(us, other);
    reply[21] = 2;
    send(reply);
    EXPECT_FALSE(flows_->was_asked(other.v4(), Tick{100})) << "everybody gets a reply";
    send(neighbor_solicitation(at("fd00:1::2"), at("fd00:1::1")));
    EXPECT_TRUE(flows_->was_asked(at("fd00:1::1").v6(), Tick{100}));
    EXPECT_FALSE(flows_->was_asked(at("fd00:1::2").v6(), Tick{100}));
}

// A monitor opens and closes a flow for each probe; the one long session outlives ten tables full of them.
TEST_F(HostFlowsTest, probes_do_not_push_a_session_out) {
    const Tuple bgp = session(false);
    send(tcp_frame(bgp, kAck), Tick{100});
    Tuple probe = session(false, 0, 80);
    std::uint32_t n = 0;
    for (; n < (kSanitized ? 2 : 10) * HostFlows::kEntries; ++n) {
        probe.source_port = static_cast<std::uint16_t>(32'768 + n % 28'000);
        probe.destination = IpAddress(Ipv4Address{Be32(0x0a02'0000u + n / 28'000)});
        const Tick now = Tick{100} + n / 400;  // 25,600 a second
        send(tcp_frame(probe, kSyn), now);
        send(tcp_frame(probe, kAck), now);
        send(tcp_frame(probe, kFin | kAck), now);
        send(tcp_frame(probe, kAck), now);
    }
    EXPECT_TRUE(knows(tcp_frame(turned(bgp), kAck), Tick{100} + n / 400));
}

TEST_F(HostFlowsTest, reads_any_bytes) {
    std::mt19937 random(7);
    const Bytes frames[] = {tcp_frame(session(false), kAck), tcp_frame(session(true), kAck),
                            udp_frame(session(true)), arp_request(at("10.1.0.2"), at("10.1.0.1")),
                            neighbor_solicitation(at("fd00:1::2"), at("fd00:1::1"))};
    for (const Bytes& frame : frames) {
        for (std::size_t size = 0; size < frame.size(); ++size)
            send(Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size)));
        for (unsigned n = 0; n < 20'000; ++n) {
            Bytes mutant = frame;
            for (std::size_t changes = 1 + random() % 3; changes > 0; --changes)
                mutant[random() % mutant.size()] = static_cast<std::uint8_t>(random());
            mutant.resize(random() % (mutant.size() + 1));
            send(mutant);
        }
    }
}

}  // namespace
}  // namespace weir::test
