// What a worker believes about a flow from the packets of one direction, and how long it believes it.
//
// Theory of operation. A balancer need not follow TCP: it must know which flows may make room for others, and
// after how much silence a flow is forgotten. So
//   - a flow is *confirmed* by its second packet. A SYN flood or scan makes unconfirmed entries only, and
//     these are evicted first (flow_table.h). Repeated SYNs confirm nothing.
//   - only a FIN ends a flow for good. A RST may be forged by anyone who knows the 5-tuple and weir, which
//   sees
//     no sequence numbers of the other direction, cannot tell (RFC 5961): it shortens the timeout, and the
//     next packet that is neither RST nor FIN takes it back. That is why FIN and RST have states of their
//     own.
//   - a SYN on a closing flow opens a new one on an old 5-tuple; on an established one it may be forged
//     (RFC 5961 4) and changes nothing. The caller keeps the backend of a reopened flow if that still gets
//     new flows: a forged RST or FIN followed by a forged SYN then moves nothing either. If it gets none, the
//     caller lets any SYN choose anew: a client that begins again must not be held at a backend that may be
//     silent, by its own SYNs, which keep the entry alive.
//
// All functions are total: a state met with a packet of the other protocol (a false match) is left as it is.
// Pure functions; any thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "dataplane/net/headers.h"
#include "dataplane/state/flow_clock.h"

namespace weir {

// Four bits of a flow table's entry. `none` marks an empty slot and is also "make no entry".
enum class FlowState : std::uint8_t {
    none,
    tcp_opening,      // SYN; unconfirmed
    tcp_midflow,      // first seen without SYN (a fail-over, an evicted entry, a forgery); unconfirmed
    tcp_established,  // confirmed
    tcp_closing,      // FIN seen; confirmed
    tcp_reset,        // RST seen, no FIN; confirmed
    udp_first,        // unconfirmed
    udp,              // confirmed
};
inline constexpr std::size_t kFlowStates = 8;

// What a packet means for a flow.
enum class FlowEvent : std::uint8_t { syn, rst, segment, fin, datagram };
inline constexpr std::size_t kFlowEvents = 5;
// Begins or breaks off a connection: few packets do, and they are told from the others by one comparison.
[[nodiscard]] constexpr bool is_syn_or_rst(FlowEvent event) noexcept { return event <= FlowEvent::rst; }

// Of a segment with several flags the strongest counts: RST, then SYN (with FIN it is no connection, with ACK
// no client's), then FIN.
[[nodiscard]] constexpr FlowEvent flow_event_of_tcp(std::uint8_t flags) noexcept {
    if ((flags & TcpHeader::kRst) != 0) return FlowEvent::rst;
    if ((flags & TcpHeader::kSyn) != 0) return FlowEvent::syn;
    if ((flags & TcpHeader::kFin) != 0) return FlowEvent::fin;
    return FlowEvent::segment;
}

// The same for every value of the flags' byte.
inline constexpr std::array<FlowEvent, 256> kFlowEventOfTcpFlags = [] {
    std::array<FlowEvent, 256> events{};
    for (std::size_t flags = 0; flags < events.size(); ++flags)
        events[flags] = flow_event_of_tcp(static_cast<std::uint8_t>(flags));
    return events;
}();

// State of the entry that a flow's first packet makes; none: forward it, but make no entry.
[[nodiscard]] constexpr FlowState first_flow_state(FlowEvent event) noexcept {
    switch (event) {
        case FlowEvent::syn:
            return FlowState::tcp_opening;
        case FlowEvent::segment:
            return FlowState::tcp_midflow;
        case FlowEvent::datagram:
            return FlowState::udp_first;
        case FlowEvent::fin:
        case FlowEvent::rst:
            break;
    }
    return FlowState::none;
}

namespace flow_state {

using Row = std::array<FlowState, std::bit_ceil(kFlowEvents)>;  // a row is found by a shift

consteval std::array<Row, kFlowStates> make_transitions() noexcept {
    using enum FlowState;
    return {{
        // syn, rst, segment, fin, datagram
        {none, none, none, none, none},
        {tcp_opening, tcp_reset, tcp_established, tcp_closing, tcp_opening},
        {tcp_opening, tcp_reset, tcp_established, tcp_closing, tcp_midflow},
        {tcp_established, tcp_reset, tcp_established, tcp_closing, tcp_established},
        {tcp_opening, tcp_closing, tcp_closing, tcp_closing, tcp_closing},
        {tcp_opening, tcp_reset, tcp_established, tcp_closing, tcp_reset},
        {udp_first, udp_first, udp_first, udp_first, udp},
        {udp, udp, udp, udp, udp},
    }};
}
inline constexpr std::array<Row, kFlowStates> kTransitions = make_transitions();

}  // namespace flow_state

[[nodiscard]] constexpr FlowState next_flow_state(FlowState state, FlowEvent event) noexcept {
    return flow_state::kTransitions[static_cast<std::size_t>(state)][static_cast<std::size_t>(event)];
}

// True if the packet may begin a connection on the 5-tuple of a known flow, which then must not keep it at a
// backend that is not in full service.
[[nodiscard]] constexpr bool may_begin_anew(FlowState state, FlowEvent event) noexcept {
    return event == FlowEvent::syn && state != FlowState::udp_first && state != FlowState::udp;
}

// True if it begins one for certain, as a flow's end was seen: counted as new, wherever it goes.
[[nodiscard]] constexpr bool reopens_flow(FlowState state, FlowEvent event) noexcept {
    return event == FlowEvent::syn && (state == FlowState::tcp_closing || state == FlowState::tcp_reset);
}

// Bit 31 - s: state s is confirmed. A shift by the state then leaves the answer in a word's sign.
inline constexpr std::uint32_t kConfirmedFromTop = [] {
    std::uint32_t bits = 0;
    using enum FlowState;
    for (const FlowState state : {tcp_established, tcp_closing, tcp_reset, udp})
        bits |= 0x8000'0000 >> static_cast<unsigned>(state);
    return bits;
}();
[[nodiscard]] constexpr bool is_confirmed(FlowState state) noexcept {
    return (kConfirmedFromTop << static_cast<unsigned>(state) & 0x8000'0000) != 0;
}

[[nodiscard]] constexpr TickCount flow_timeout(FlowState state, const FlowTimeouts& timeouts) noexcept {
    switch (state) {
        case FlowState::tcp_opening:
        case FlowState::tcp_midflow:
            return timeouts.tcp_opening;
        case FlowState::tcp_established:
            return timeouts.tcp_established;
        case FlowState::tcp_closing:
        case FlowState::tcp_reset:
            return timeouts.tcp_closing;
        case FlowState::udp_first:
        case FlowState::udp:
            return timeouts.udp;
        case FlowState::none:
            break;
    }
    return 0;
}

// flow_timeout() of every value that an entry's four bits can have.
class TimeoutTable {
  public:
    constexpr TimeoutTable() noexcept = default;
    explicit constexpr TimeoutTable(const FlowTimeouts& timeouts) noexcept {
        for (std::size_t state = 0; state < kFlowStates; ++state)
            by_state_[state] = flow_timeout(static_cast<FlowState>(state), timeouts);
    }
    [[nodiscard]] constexpr const FlowTimeout& operator[](FlowState state) const noexcept {
        return by_state_[static_cast<std::size_t>(state)];
    }

  private:
    std::array<FlowTimeout, 16> by_state_{};
};

}  // namespace weir
