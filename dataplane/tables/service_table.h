// Destination -> service.
//
// Theory of operation. Services on single ports, the usual ones, are found by address and port at once
// (exact_services.h; an IPv6 VIP stands there as its index). What is not found there is looked up in two
// steps: first the VIP by its address, then the L4 port in that VIP's sorted intervals.
// VIPs of a family lie in one open-addressing array of {address, VipIndex} at a quarter load. Each VIP has,
// for TCP and for UDP, a run of disjoint intervals [first, last] -> ServiceId in one shared array, sorted by
// first; an exact port beats a range, a range beats "any": the builder has cut the weaker ones to pieces, so
// that the look-up is one binary search. find_service() knows all services, those on single ports too.
//
// Built by the control core, immutable afterwards; read by any worker.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"
#include "dataplane/tables/exact_services.h"

namespace weir {

// What the builder is told: one entry per service x protocol x port range.
struct ServiceRule {
    IpAddress vip;
    IpProtocol protocol;  // tcp or udp
    std::uint16_t first, last;
    bool any;  // weakest match; first = 0 and last = 65,535
    ServiceId service;
};

inline constexpr std::uint32_t kNotVip = 0xffff'ffff;

namespace detail {

// Fibonacci hashing; the upper half, as the lower bits of a product do not depend on the upper ones of its
// factor.
inline std::size_t spread(std::uint64_t value) noexcept {
    return static_cast<std::size_t>((value * 0x9e37'79b9'7f4a'7c15) >> 32);
}
inline std::size_t hash_of(Ipv4Address address) noexcept { return spread(address.bits.raw()); }
inline std::size_t hash_of(const Ipv6Address& address) noexcept {
    const auto [high, low] = std::bit_cast<std::array<std::uint64_t, 2>>(address);
    return spread(spread(high) + low);
}

// The slot that holds the address, or the empty one where it would lie. Precondition: some slot is empty.
template <class Slots, class Address>
std::size_t probe(const Slots& slots, const Address& address) noexcept {
    const std::size_t mask = slots.size() - 1;
    std::size_t at = hash_of(address) & mask;
    while (slots[at].vip != kNotVip && slots[at].address != address) at = (at + 1) & mask;
    return at;
}

}  // namespace detail

class ServiceTable {
  public:
    static constexpr std::uint32_t kNotVip = weir::kNotVip;

    ServiceTable() = default;
    // Of two rules of one strength (exact, range, any) that overlap the earlier wins; validate_config
    // has refused such a configuration before.
    explicit ServiceTable(std::span<const ServiceRule> rules);

    // The service of a TCP or UDP packet if it is one on a single port; else kNoService, and find_vip() and
    // find_service() have the last word.
    [[nodiscard, gnu::always_inline]] ServiceId find_exact(Ipv4Address address, IpProtocol protocol,
                                                           Be16 port) const noexcept {
        return exact_v4_[is_udp(protocol)].find(address.bits.raw(), port);
    }
    [[nodiscard, gnu::always_inline]] ServiceId find_exact(const Ipv6Address& address, IpProtocol protocol,
                                                           Be16 port) const noexcept {
        return exact_v6_[is_udp(protocol)].find(find_vip(address), port);
    }

    // Index of a VIP, or kNotVip.
    [[nodiscard]] std::uint32_t find_vip(Ipv4Address address) const noexcept {
        return v4_[detail::probe(v4_, address)].vip;
    }
    [[nodiscard]] std::uint32_t find_vip(const Ipv6Address& address) const noexcept {
        return v6_[detail::probe(v6_, address)].vip;
    }
    // The service on a VIP's TCP or UDP port, or kNoService. Precondition: `vip` from find_vip, not kNotVip.
    [[nodiscard]] ServiceId find_service(std::uint32_t vip, IpProtocol protocol,
                                         std::uint16_t port) const noexcept;

    [[nodiscard]] std::size_t vips() const noexcept { return vips_.size(); }

  private:
    struct Interval {
        std::uint16_t first, last;
        ServiceId service;
    };
    struct Run {
        std::uint32_t begin = 0, count = 0;
    };
    struct Vip {
        Run tcp, udp;
    };
    struct SlotV4 {
        Ipv4Address address;
        std::uint32_t vip;
    };
    struct SlotV6 {
        Ipv6Address address;
        std::uint32_t vip;
    };
    static std::size_t is_udp(IpProtocol protocol) noexcept { return protocol == IpProtocol::udp ? 1 : 0; }
    std::uint32_t vip_index(const IpAddress& address);
    void build_intervals(std::span<const ServiceRule> rules);
    void build_exact(std::span<const ServiceRule> rules);

    // Sizes are powers of two; at least one slot is empty.
    std::vector<SlotV4> v4_ = {SlotV4{.address = {}, .vip = kNotVip}};
    std::vector<SlotV6> v6_ = {SlotV6{.address = {}, .vip = kNotVip}};
    std::vector<Vip> vips_;
    std::vector<Interval> intervals_;
    std::array<ExactServices, 2> exact_v4_, exact_v6_;  // TCP, UDP
};

}  // namespace weir
