#include "dataplane/state/flow_state.h"

#include <gtest/gtest.h>

#include <string>

namespace weir {
namespace {

using enum FlowState;
using enum FlowEvent;

struct Step {
    FlowState from;
    FlowEvent event;
    FlowState to;
    const char* why;
};

// Every state a packet of its own protocol can meet. The last block: packets of the other protocol.
constexpr Step kSteps[] = {
    {tcp_opening, syn, tcp_opening, "a repeated SYN confirms nothing"},
    {tcp_opening, segment, tcp_established, "second packet"},
    {tcp_opening, fin, tcp_closing, "opened and closed at once"},
    {tcp_opening, rst, tcp_reset, "refused by the client"},
    {tcp_midflow, syn, tcp_opening, "the flow begins after all"},
    {tcp_midflow, segment, tcp_established, "second packet"},
    {tcp_midflow, fin, tcp_closing, "its end"},
    {tcp_midflow, rst, tcp_reset, "RST"},
    {tcp_established, syn, tcp_established, "forged or late: RFC 5961 4"},
    {tcp_established, segment, tcp_established, "data"},
    {tcp_established, fin, tcp_closing, "half closed"},
    {tcp_established, rst, tcp_reset, "perhaps forged"},
    {tcp_closing, syn, tcp_opening, "5-tuple used again"},
    {tcp_closing, segment, tcp_closing, "the last ACKs"},
    {tcp_closing, fin, tcp_closing, "FIN again"},
    {tcp_closing, rst, tcp_closing, "a FIN is for good"},
    {tcp_reset, syn, tcp_opening, "5-tuple used again"},
    {tcp_reset, segment, tcp_established, "the RST was forged: the flow goes on"},
    {tcp_reset, fin, tcp_closing, "now it ends"},
    {tcp_reset, rst, tcp_reset, "RST again"},
    {udp_first, datagram, udp, "second packet"},
    {udp, datagram, udp, "data"},

    {tcp_opening, datagram, tcp_opening, "not of this flow"},
    {tcp_midflow, datagram, tcp_midflow, "not of this flow"},
    {tcp_established, datagram, tcp_established, "not of this flow"},
    {tcp_closing, datagram, tcp_closing, "not of this flow"},
    {tcp_reset, datagram, tcp_reset, "not of this flow"},
    {udp_first, syn, udp_first, "not of this flow"},
    {udp_first, segment, udp_first, "not of this flow"},
    {udp_first, fin, udp_first, "not of this flow"},
    {udp_first, rst, udp_first, "not of this flow"},
    {udp, syn, udp, "not of this flow"},
    {udp, segment, udp, "not of this flow"},
    {udp, fin, udp, "not of this flow"},
    {udp, rst, udp, "not of this flow"},
};

TEST(FlowState, every_transition) {
    static_assert(std::size(kSteps) == (kFlowStates - 1) * kFlowEvents, "each state with each event");
    bool seen[kFlowStates][kFlowEvents] = {};
    for (const Step& step : kSteps) {
        EXPECT_EQ(next_flow_state(step.from, step.event), step.to) << step.why;
        bool& mark = seen[static_cast<std::size_t>(step.from)][static_cast<std::size_t>(step.event)];
        EXPECT_FALSE(mark) << "twice in the table: " << step.why;
        mark = true;
    }
}

TEST(FlowState, only_a_syn_on_a_closing_flow_reopens_it) {
    for (const Step& step : kSteps) {
        const bool expected = step.event == syn && (step.from == tcp_closing || step.from == tcp_reset);
        EXPECT_EQ(reopens_flow(step.from, step.event), expected) << step.why;
        const bool is_tcp = step.from != udp_first && step.from != udp;
        EXPECT_EQ(may_begin_anew(step.from, step.event), is_tcp && step.event == syn) << step.why;
    }
}

TEST(FlowState, syn_and_rst_are_told_from_the_rest) {
    for (const FlowEvent event : {syn, rst}) EXPECT_TRUE(is_syn_or_rst(event));
    for (const FlowEvent event : {segment, fin, datagram}) EXPECT_FALSE(is_syn_or_rst(event));
}

TEST(FlowState, first_packets) {
    EXPECT_EQ(first_flow_state(syn), tcp_opening);
    EXPECT_EQ(first_flow_state(segment), tcp_midflow);
    EXPECT_EQ(first_flow_state(datagram), udp_first);
    EXPECT_EQ(first_flow_state(fin), none) << "makes no entry";
    EXPECT_EQ(first_flow_state(rst), none) << "makes no entry";
}

TEST(FlowState, a_first_packet_is_never_confirmed_and_the_second_always_is_but_for_a_syn) {
    for (const FlowEvent event : {syn, segment, datagram}) {
        const FlowState first = first_flow_state(event);
        EXPECT_FALSE(is_confirmed(first));
        EXPECT_TRUE(is_confirmed(next_flow_state(first, event == datagram ? datagram : segment)));
        EXPECT_FALSE(is_confirmed(next_flow_state(first, syn)));
    }
    EXPECT_FALSE(is_confirmed(none));
}

TEST(FlowState, events_of_all_64_flag_combinations) {
    constexpr std::uint8_t kPsh = 0x08, kUrg = 0x20;
    for (unsigned bits = 0; bits < 64; ++bits) {
        const auto flags = static_cast<std::uint8_t>(bits);
        const FlowEvent expected = flags & 0x04 ? rst : flags & 0x02 ? syn : flags & 0x01 ? fin : segment;
        EXPECT_EQ(flow_event_of_tcp(flags), expected) << bits;
    }
    EXPECT_EQ(flow_event_of_tcp(TcpHeader::kAck | kPsh | kUrg), segment);
    EXPECT_EQ(flow_event_of_tcp(TcpHeader::kAck | TcpHeader::kFin), fin);
    EXPECT_EQ(flow_event_of_tcp(0), segment);
}

TEST(FlowState, timeouts) {
    constexpr FlowTimeouts kTimeouts{.tcp_opening = 1, .tcp_established = 2, .tcp_closing = 3, .udp = 4};
    EXPECT_EQ(flow_timeout(tcp_opening, kTimeouts), 1u);
    EXPECT_EQ(flow_timeout(tcp_midflow, kTimeouts), 1u) << "no better than a SYN";
    EXPECT_EQ(flow_timeout(tcp_established, kTimeouts), 2u);
    EXPECT_EQ(flow_timeout(tcp_closing, kTimeouts), 3u);
    EXPECT_EQ(flow_timeout(tcp_reset, kTimeouts), 3u);
    EXPECT_EQ(flow_timeout(udp_first, kTimeouts), 4u);
    EXPECT_EQ(flow_timeout(udp, kTimeouts), 4u);
    EXPECT_EQ(flow_timeout(none, kTimeouts), 0u);
}

// A connection as a client makes it, packet by packet; the forged RST in the middle costs nothing.
TEST(FlowState, a_whole_connection) {
    FlowState state = first_flow_state(flow_event_of_tcp(TcpHeader::kSyn));
    const std::pair<int, FlowState> packets[] = {
        {TcpHeader::kSyn, tcp_opening},
        {TcpHeader::kAck, tcp_established},
        {TcpHeader::kRst, tcp_reset},
        {TcpHeader::kAck, tcp_established},
        {TcpHeader::kFin | TcpHeader::kAck, tcp_closing},
        {TcpHeader::kAck, tcp_closing},
        {TcpHeader::kSyn, tcp_opening},
        {TcpHeader::kAck, tcp_established},
    };
    for (const auto& [flags, expected] : packets) {
        state = next_flow_state(state, flow_event_of_tcp(static_cast<std::uint8_t>(flags)));
        EXPECT_EQ(state, expected);
    }
}

}  // namespace
}  // namespace weir
