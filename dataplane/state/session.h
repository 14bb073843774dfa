// One translated flow (mode nat): both of its tuples, and how far it has got.
//
//   client -> VIP          source {client, client_port},     destination {the service's VIP, vip_port}
//   weir   -> backend      source {SNAT address, snat_port}, destination {backend, backend_port}
//
// Theory of operation of its life. weir sees both directions, so a session knows more than an entry of the
// flow table: it is established only once its backend has answered, and it is closing only once both sides
// have said FIN. A RST of either side shortens it; the next segment takes that back, as the RST may be forged
// (RFC 5961, RFC 7857 2.2). While a session lasts nobody else gets its SNAT port towards that backend; where
// none is left, gives_way() says whose may go before its time: never that of an established one.
//
// Layout and state only; the table is session_table.h. Ports and addresses are as on the wire.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"
#include "dataplane/net/byte_order.h"
#include "dataplane/net/client_identity.h"
#include "dataplane/state/flow_clock.h"
#include "dataplane/state/flow_state.h"

namespace weir {

// An address of either family in 16 bytes; behind an IPv4 address there are zeros.
using SessionAddress = std::array<std::uint8_t, 16>;

template <class Address>
[[nodiscard]] SessionAddress session_address(const Address& address) noexcept {
    SessionAddress bytes{};
    std::memcpy(bytes.data(), &address, sizeof(address));
    return bytes;
}

// Index into ForwardingSnapshot::snat_addresses; fixed while weir runs.
enum class SnatId : std::uint8_t {};
inline constexpr std::size_t kMaxSnatAddresses = 64;

// In mode dnat, whose source is the client itself.
inline constexpr SnatId kNoSnat{0xff};

struct ClientTuple {
    SessionAddress client;
    Be16 client_port, vip_port;
    ServiceId service;  // stands for the VIP
    IpProtocol protocol;
    Family family;

    friend bool operator==(const ClientTuple&, const ClientTuple&) noexcept = default;
};

// What a reply says.
struct ReplyTuple {
    SessionAddress backend;
    SessionAddress client;  // mode dnat: to whom it goes; mode nat: zeros
    Be16 backend_port, snat_port;
    SnatId snat;
    IpProtocol protocol;
    Family family;

    friend bool operator==(const ReplyTuple&, const ReplyTuple&) noexcept = default;
};

struct SessionTimeouts {
    // RFC 5382 REQ-5: at least 2 h 4 min established, 4 min else; RFC 4787 REQ-5: 5 min recommended.
    TickCount established = 7'440 * kTicksPerSecond;
    TickCount transitory = 240 * kTicksPerSecond;
    TickCount udp = 300 * kTicksPerSecond;
    // How long a backend may remember a closed connection: 60 s by Linux, 1 to 4 min by RFC 9293 3.4.2.
    TickCount time_wait = 60 * kTicksPerSecond;
};

struct alignas(64) Session {
    SessionAddress client, backend_address;
    Be16 client_port, vip_port, snat_port, backend_port;
    BackendId backend : 20;
    ClientIdentity identity : 2;
    bool identity_arrived : 1;  // the backend has acknowledged all of its PROXY header, or data behind a toa
    bool identity_sent : 1;     // it, or what is behind it, since first_sequence was set
    std::uint8_t identity_length : 7;  // what the backend's stream has more than the client's; toa: 0
    Tick deadline;
    ServiceId service;
    SnatId snat;
    std::uint8_t flags;
    MacAddress client_mac;  // where replies go: to where the client's last packet came from
    PortId ingress;
    FlowState state;               // none: a free record
    std::uint32_t first_sequence;  // TCP: of the first byte that the client sends behind its SYN

    static constexpr std::uint8_t kUdp = 1, kV6 = 2, kAnswered = 4, kClientFin = 8, kBackendFin = 16;
    static constexpr std::uint8_t kNat64 = 32;  // kV6, and the backend is an IPv4 one
    static constexpr std::uint8_t kDnat = 64;   // the source stays: snat is kNoSnat, snat_port client_port
    // What belongs to a tuple, and not to a life of it.
    static constexpr std::uint8_t kOfTuple = kUdp | kV6 | kNat64 | kDnat;

    [[nodiscard]] bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
    [[nodiscard]] IpProtocol protocol() const noexcept {
        return has(kUdp) ? IpProtocol::udp : IpProtocol::tcp;
    }
    [[nodiscard]] Family family() const noexcept { return has(kV6) ? Family::v6 : Family::v4; }
    [[nodiscard]] Family backend_family() const noexcept { return has(kNat64) ? Family::v4 : family(); }
    [[nodiscard]] ClientTuple client_tuple() const noexcept {
        return {client, client_port, vip_port, service, protocol(), family()};
    }
    [[nodiscard]] ReplyTuple reply_tuple() const noexcept {
        return {backend_address,
                has(kDnat) ? client : SessionAddress{},
                backend_port,
                snat_port,
                snat,
                protocol(),
                backend_family()};
    }
    [[nodiscard]] bool is_live(Tick now) const noexcept {
        return state != FlowState::none && static_cast<std::int32_t>(static_cast<std::uint32_t>(deadline) -
                                                                     static_cast<std::uint32_t>(now)) > 0;
    }
    // Nobody has answered: it may make room for another.
    [[nodiscard]] bool is_unanswered() const noexcept { return !has(kAnswered); }
};
static_assert(sizeof(Session) == 64 && std::is_trivially_copyable_v<Session>);

[[nodiscard]] constexpr TickCount session_timeout(FlowState state, const SessionTimeouts& timeouts) noexcept {
    switch (state) {
        case FlowState::tcp_established:
            return timeouts.established;
        case FlowState::udp_first:
        case FlowState::udp:
            return timeouts.udp;
        default:
            return timeouts.transitory;
    }
}

// What a client needs to answer its backend, on the longest of ways (RFC 5382 REQ-4 waits as long).
inline constexpr TickCount kOpeningPatience = 6 * kTicksPerSecond;

// Whether another session may have its place, or its SNAT port, where no other is left: it is over and its
// backend has forgotten it, or it has never been established and nobody has said anything for a while, as in
// a SYN flood. A backend that does remember it answers the newcomer's SYN with an ACK, the newcomer's RST
// makes it forget, and the SYN that follows is taken (RFC 9293 3.10.7.4, RFC 6191).
[[nodiscard]] inline bool gives_way(const Session& session, Tick now,
                                    const SessionTimeouts& timeouts) noexcept {
    if (!session.is_live(now)) return true;
    const TickCount left{static_cast<std::uint32_t>(session.deadline) - static_cast<std::uint32_t>(now)};
    const TickCount timeout = session_timeout(session.state, timeouts);
    const TickCount idle = left < timeout ? timeout - left : 0;
    if (session.state == FlowState::tcp_closing) return idle >= timeouts.time_wait;
    return (session.state == FlowState::tcp_opening || session.is_unanswered()) && idle >= kOpeningPatience;
}

namespace detail {

inline void note_rst(Session& session) noexcept {
    if (session.state != FlowState::tcp_closing) session.state = FlowState::tcp_reset;
}
inline void note_fin(Session& session, std::uint8_t side) noexcept {
    session.flags |= side;
    if (session.has(Session::kClientFin) && session.has(Session::kBackendFin))
        session.state = FlowState::tcp_closing;
}

}  // namespace detail

// A packet of the client's. A SYN begins anew only what has ended; on another session it may be forged.
inline void note_client(Session& session, FlowEvent event, Tick now,
                        const SessionTimeouts& timeouts) noexcept {
    using enum FlowState;
    const bool over = session.state == tcp_closing || session.state == tcp_reset;
    switch (event) {
        case FlowEvent::syn:
            if (over) {
                session.state = tcp_opening;
                session.flags &= Session::kOfTuple;
            }
            break;
        case FlowEvent::rst:
            detail::note_rst(session);
            break;
        case FlowEvent::fin:
            detail::note_fin(session, Session::kClientFin);
            break;
        case FlowEvent::segment:
            if (session.has(Session::kAnswered) && session.state != tcp_closing)
                session.state = tcp_established;
            break;
        case FlowEvent::datagram:
            break;
    }
    session.deadline = now + session_timeout(session.state, timeouts);
}

// One of its backend's. An answer alone establishes nothing: only its client can do that.
inline void note_reply(Session& session, FlowEvent event, Tick now,
                       const SessionTimeouts& timeouts) noexcept {
    using enum FlowState;
    session.flags |= Session::kAnswered;
    switch (event) {
        case FlowEvent::rst:
            detail::note_rst(session);
            break;
        case FlowEvent::fin:
            detail::note_fin(session, Session::kBackendFin);
            break;
        case FlowEvent::datagram:
            session.state = udp;
            break;
        case FlowEvent::syn:
        case FlowEvent::segment:
            if (session.state == tcp_reset) session.state = tcp_established;
            break;
    }
    session.deadline = now + session_timeout(session.state, timeouts);
}

}  // namespace weir
