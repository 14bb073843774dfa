// The traffic of the consistency gate: services of every mode, or of mode nat alone, both families and
// protocols; flows that name themselves in what no rewrite changes; and what a frame that came out says of
// its flow and its backend.
#pragma once

#include <cstring>

#include "tests/pipeline/consistency_model.h"
#include "tests/support/frame_tuple.h"
#include "tests/support/monitored_world.h"

namespace weir::test::consistency {

// What the world is like: one way through it, or mode nat, with replies.
enum class Shape : std::uint8_t { one_way, nat };

// One way, by pool: dsr, ipip over IPv4, ipip over IPv6, gue over IPv4, gue over IPv6; then three more.
inline constexpr std::array<ForwardingMode, kPools> kModeOf = {
    ForwardingMode::dsr, ForwardingMode::ipip, ForwardingMode::ipip, ForwardingMode::gue,
    ForwardingMode::gue, ForwardingMode::ipip, ForwardingMode::gue,  ForwardingMode::ipip};
inline constexpr std::array<bool, kPools> kOuterV6 = {false, false, true, false, true, false, true, true};
// Of the sticky clients.
inline constexpr unsigned kPrefixV4 = 24, kPrefixV6 = 64;
// Whose flows come from the addresses of clients, sticky or not.
inline constexpr unsigned kStickyPool = 5;

inline IpAddress address_of(unsigned backend) {
    const unsigned pool = pool_of(backend), place = backend % kPlaces;
    if (!kOuterV6[pool])
        return IpAddress(Ipv4Address{Be32(0x0a01'1400u + (pool << 8) + place + 1)});  // 10.1.20.1
    Ipv6Address address = ip("fd00:1::").v6();
    address.bytes[14] = static_cast<std::uint8_t>(0x20 + pool);
    address.bytes[15] = static_cast<std::uint8_t>(place + 1);
    return IpAddress(address);
}
// Of the pool with dsr, whose packets name their backend by it alone.
inline MacAddress mac_of(unsigned backend) {
    return {{0x02, 0xdd, 0, 0, 0x01, static_cast<std::uint8_t>(backend % kPlaces)}};
}
inline std::string pool_name(unsigned pool) { return "pool" + std::to_string(pool); }
inline std::string backend_name(unsigned backend) { return "b" + std::to_string(backend % kNames); }

inline std::string zone_name(bool near) { return near ? "near" : "far"; }

// Two of each family: a pool of which one backend is left needs more ports than one address has.
inline std::vector<IpAddress> snat_addresses() {
    return {ip("10.1.0.2"), ip("10.1.0.3"), ip("fd00:1::2"), ip("fd00:1::3")};
}

inline PoolConfig pool_config(unsigned pool, const Rules& rules) {
    PoolConfig made;
    made.name = pool_name(pool);
    made.table_size = 1021;
    HealthCheckConfig& check = made.health_check.emplace();
    check.healthy_threshold = rules.healthy_threshold;
    check.unhealthy_threshold = rules.unhealthy_threshold;
    made.deregistration_delay = rules.drain;
    made.connection_termination = rules.cuts_at_the_end;
    made.unhealthy_flows = static_cast<UnhealthyFlows>(rules.of_dead);
    made.unhealthy_draining = rules.keeps_for;
    made.minimum_healthy.count = rules.least_count;
    made.minimum_healthy.percentage = rules.least_percentage;
    made.minimum_healthy.action = static_cast<BelowMinimum>(rules.below);
    if (rules.sticks_for.count() != 0)
        made.stickiness =
            StickinessConfig{.duration = rules.sticks_for, .prefix_v4 = kPrefixV4, .prefix_v6 = kPrefixV6};
    made.cross_zone = !rules.near_first;
    made.slow_start = rules.slow_start;
    return made;
}

// Everything but the pools' backends. In mode nat a VIP is of its backends' family.
inline Config base_config(const Model& model, Shape shape) {
    Config made = edge_config();
    made.zone = zone_name(true);
    for (unsigned place = 0; place < kPlaces; ++place) {
        NeighborConfig entry;
        entry.address = address_of(place);
        entry.mac = mac_of(place);
        entry.port = "edge";
        made.neighbors.push_back(entry);
    }
    for (unsigned pool = 0; pool < kPools; ++pool) {
        made.pools.push_back(pool_config(pool, model.rules(pool)));
        for (const bool v6 : {false, true}) {
            if (shape == Shape::nat && v6 != kOuterV6[pool]) continue;
            const std::string vip = (v6 ? "2001:db8:100::" : "203.0.113.") + std::to_string(pool + 1);
            made.services.push_back(service("s" + std::to_string(pool) + (v6 ? "v6" : "v4"), vip,
                                            pool_name(pool),
                                            shape == Shape::nat ? ForwardingMode::nat : kModeOf[pool]));
            made.services.back().udp = true;
        }
    }
    if (shape == Shape::nat) made.ports[0].snat.addresses = snat_addresses();
    made.timeouts = {Duration(40'000), Duration(40'000), Duration(10'000), Duration(40'000)};
    return made;
}

// Found without parsing text: once for each packet.
inline const IpAddress& vip_of(unsigned pool, bool v6) {
    static const std::vector<IpAddress> all = [] {
        std::vector<IpAddress> made;
        for (unsigned n = 0; n < 2 * kPools; ++n) made.push_back(mode_vip(n / 2 + 1, n % 2 != 0));
        return made;
    }();
    return all[2 * pool + (v6 ? 1 : 0)];
}

// A frame whose `name` stands where no rewrite touches it, and stays in a RST that weir makes of it: in both
// sequence numbers of TCP, or at the start of a datagram.
inline Bytes named_frame(const Tuple& tuple, bool udp, std::uint8_t flags, std::uint32_t name,
                         const Link& link = {}) {
    Bytes l4;
    append_word(l4, tuple.source_port);
    append_word(l4, tuple.destination_port);
    const auto append_name = [&] {
        append_word(l4, name >> 16);
        append_word(l4, name & 0xffff);
    };
    if (udp) {
        append_word(l4, 8 + 8);
        append_word(l4, 0);
        append_name();
        append_name();
    } else {
        append_name();
        append_name();
        append(l4, Bytes{0x50, flags, 0xff, 0xff, 0, 0, 0, 0});
        if ((flags & kSyn) == 0) append(l4, payload(8));
    }
    return ip_frame(link, tuple.source, tuple.destination, udp ? 17 : 6, std::move(l4), udp ? 6 : 16);
}
inline std::uint32_t name_in(std::span<const std::uint8_t> ip) {
    const bool v4 = ip[0] >> 4 == 4;
    const std::size_t at = (v4 ? 20 : 40) + (ip[v4 ? 9 : 6] == 17 ? 8u : 4u);
    return static_cast<std::uint32_t>(word_at(ip, at)) << 16 | word_at(ip, at + 2);
}

// One that lives in a slot: the slot is its name and its source port, how many lived there before its source
// address. In a sticky pool neighbouring slots are one client of each family: their addresses agree in its
// prefix.
struct Flow {
    static constexpr unsigned kFirstPort = 1000, kKinds = 4 * kPools, kSlotsOfClient = 64;
    static constexpr unsigned kNone = ~0u;

    std::uint32_t slot = 0, before = 0;
    Shape shape = Shape::one_way;
    unsigned home = kNone;   // the backend it was given
    std::uint64_t seen = 0;  // the version in force when it sent last
    bool begun = false;
    Tuple translated{};  // mode nat: what its backend sees

    [[nodiscard]] unsigned kind() const { return (slot + before * 7) % kKinds; }
    [[nodiscard]] unsigned pool() const { return kind() % kPools; }
    [[nodiscard]] bool is_v6() const {
        return shape == Shape::nat ? kOuterV6[pool()] : kind() / kPools % 2 != 0;
    }
    [[nodiscard]] bool is_udp() const { return kind() / kPools / 2 != 0; }
    // Only its first packet can begin it.
    [[nodiscard]] bool needs_session() const { return shape == Shape::nat && !is_udp() && begun; }
    [[nodiscard]] unsigned client() const { return slot / kSlotsOfClient * 2 + (is_v6() ? 1 : 0); }
    [[nodiscard]] Tuple tuple() const {
        Tuple made = client_flow(before << 16 | (slot + kFirstPort), vip_of(pool(), is_v6()));
        if (pool() == kStickyPool) made.source = is_v6() ? v6_source() : v4_source();
        return made;
    }
    [[nodiscard]] Bytes next_frame(bool last) const {
        return named_frame(tuple(), is_udp(), !begun ? kSyn : last ? kFin | kAck : kAck, slot);
    }
    // As its backend answers that frame.
    [[nodiscard]] Bytes answer(const Tuple& seen_by_backend, bool last) const {
        const Link link;
        return named_frame(turned(seen_by_backend), is_udp(),
                           !begun ? kSyn | kAck
                           : last ? kFin | kAck
                                  : kAck,
                           slot, {.to = link.to, .from = {{2, 0, 0, 0, 1, 0}}});
    }
    void start_over() { *this = {.slot = slot, .before = (before + 1) & 0xffff, .shape = shape}; }

  private:
    [[nodiscard]] IpAddress v4_source() const {  // 100.64.0.0/10
        return IpAddress(Ipv4Address{Be32(0x6440'0000u + (client() << 8) + (before & 0xff))});
    }
    [[nodiscard]] IpAddress v6_source() const {
        Ipv6Address made = ip("2001:db8::1").v6();
        const unsigned parts[] = {client() >> 8, client(), before >> 8, before};
        for (const unsigned n : {0u, 1u}) {
            made.bytes[6 + n] = static_cast<std::uint8_t>(parts[n]);
            made.bytes[12 + n] = static_cast<std::uint8_t>(parts[2 + n]);
        }
        return IpAddress(made);
    }
};

// What came out for one flow.
struct Outcome {
    unsigned frames = 0, replies = 0;
    unsigned backend = Flow::kNone;  // where a packet went
    bool reset_to_backend = false, reset_to_client = false;
    Tuple to_backend{}, to_client{};
};

inline bool is_tcp_reset(std::span<const std::uint8_t> ip) {
    const bool v4 = ip[0] >> 4 == 4;
    return ip[v4 ? 9 : 6] == 6 && (ip[(v4 ? 20 : 40) + 13] & kRst) != 0;
}

// Notes a frame that came out in `outcomes` (by slot).
inline void note_frame(std::span<const std::uint8_t> frame, Shape shape, std::vector<Outcome>& outcomes) {
    const Link link;  // the client's router
    std::span<const std::uint8_t> ip = frame.subspan(14);
    if (std::ranges::equal(frame.first(6), link.from.bytes)) {
        Outcome& of = outcomes[name_in(ip)];
        const bool reset = is_tcp_reset(ip);
        of.reset_to_client |= reset;
        ++(reset ? of.frames : of.replies);
        of.to_client = tuple_of(frame);
        return;
    }
    const bool outer_v4 = ip[0] >> 4 == 4;
    const std::uint8_t protocol = ip[outer_v4 ? 9 : 6];
    const std::size_t header = outer_v4 ? 20 : 40;
    unsigned backend = 0;
    const bool is_gue = protocol == 17 && word_at(ip, header + 2) == 6080;
    const bool is_nat = !is_gue && shape == Shape::nat;
    if (protocol == 4 || protocol == 41 || is_gue || is_nat) {
        const unsigned pool = outer_v4 ? ip[18] - 20u : ip[38] - 0x20u;
        backend = pool * kPlaces + (outer_v4 ? ip[19] : ip[39]) - 1;
        if (!is_nat) ip = ip.subspan(header + (is_gue ? 12 : 0));
    } else {
        backend = frame[5];
    }
    Outcome& of = outcomes[name_in(ip)];
    ++of.frames;
    of.to_backend = tuple_of(frame);
    of.backend = backend;
    of.reset_to_backend = is_tcp_reset(ip);
}

}  // namespace weir::test::consistency
