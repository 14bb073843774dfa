// Destination -> service: first the VIP by its address, then the L4 port in that VIP's sorted intervals.
//
// Theory of operation. VIPs of a family lie in one open-addressing array of {address, VipIndex} at a quarter
// load (the operator chooses the keys, so a plain multiplicative hash will do). Each VIP has, for TCP and for
// UDP, a run of disjoint intervals [first, last] -> ServiceId in one shared array, sorted by first; an exact
// port beats a range, a range beats "any": the builder has cut the weaker ones to pieces, so that a lookup is
// one binary search and, for the usual VIP with one service, one comparison.
//
// Built by the control core, immutable afterwards; read by any worker.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"

namespace weir {

// What the builder is told: one entry per service x protocol x port range.
struct ServiceRule {
    IpAddress vip;
    IpProtocol protocol;  // tcp or udp
    std::uint16_t first, last;
    bool any;  // weakest match; first = 0 and last = 65,535
    ServiceId service;
};

class ServiceTable {
  public:
    static constexpr std::uint32_t kNotVip = 0xffff'ffff;

    ServiceTable() = default;
    // Of two rules of one strength (exact, range, any) that overlap the earlier wins; validate_config
    // has refused such a configuration before.
    explicit ServiceTable(std::span<const ServiceRule> rules);

    // Index of a VIP, or kNotVip.
    [[nodiscard]] std::uint32_t find_vip(Ipv4Address address) const noexcept;
    [[nodiscard]] std::uint32_t find_vip(const Ipv6Address& address) const noexcept;
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
    std::uint32_t vip_index(const IpAddress& address);

    std::vector<SlotV4> v4_;  // size a power of two, or empty
    std::vector<SlotV6> v6_;
    std::vector<Vip> vips_;
    std::vector<Interval> intervals_;
};

}  // namespace weir
