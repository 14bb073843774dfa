// Why a packet was dropped. One enum: each value is a counter and the metric label of the same name.
//
// Order matters: reasons from kFirstServiceReason on are given after a service is known and are counted for
// that service too (service_dropped_packets_total). tests/ prove that each value is reached by a frame.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir {

// clang-format off
#define WEIR_DROP_REASONS(X)                                                                              \
    /* link */                                                                                            \
    X(runt_frame, "shorter than an Ethernet header")                                                      \
    X(not_our_mac, "unicast to a MAC address that is not the port's, or IP in a link-layer broadcast")    \
    X(bad_source_mac, "multicast or zero source MAC address")                                             \
    X(vlan_tag, "VLAN tags, or none, that no port of the device is configured for")                       \
    X(unknown_ethertype, "neither IPv4, IPv6 nor ARP")                                                    \
    X(segmented, "headers split over mbuf segments, or a chain that the device cannot send")              \
    X(arp_malformed, "ARP that is not Ethernet and IPv4, too short or inconsistent")                      \
    X(arp_not_vip, "ARP that asks for none of weir's addresses, or answers")                              \
    /* IP: RFC 1812 5.2.2, RFC 8200 */                                                                    \
    X(ip_truncated, "frame ends before the IP header or before its total length")                         \
    X(ip_version, "IP version differs from the EtherType")                                                \
    X(ip_header_length, "IPv4 header length below 20 bytes, or total length below the header's")          \
    X(ip_checksum, "wrong IPv4 header checksum")                                                          \
    X(ip_options, "malformed IPv4 options, or source routing")                                            \
    X(ip_martian_source, "source address that may not be on a wire (RFC 1812 5.3.7), or the destination") \
    X(ip_martian_destination, "destination address that may not be forwarded to")                         \
    X(ttl_expired, "TTL or hop limit 0")                                                                  \
    X(ext_chain, "IPv6 extension headers: too many, out of order, truncated or source routing")           \
    /* destination */                                                                                     \
    X(not_vip, "destination is not a VIP: not weir's to forward")                                         \
    X(unknown_protocol, "to a VIP, but neither TCP, UDP nor ICMP")                                        \
    X(l4_truncated, "TCP or UDP header incomplete, or its length field wrong")                            \
    X(fragment, "IP fragment to a VIP (not forwarded yet)")                                               \
    X(icmp_malformed, "ICMP to a VIP, truncated or with a wrong checksum")                                \
    X(icmp_error, "ICMP error to a VIP (not forwarded yet)")                                              \
    X(icmp_other, "ICMP to a VIP, neither echo request nor error")                                        \
    X(nd_malformed, "neighbour solicitation that RFC 4861 7.1.1 forbids")                                 \
    X(nd_not_vip, "neighbour discovery for none of weir's addresses")                                     \
    X(no_service, "VIP without a service on that protocol and L4 port")                                   \
    X(unsolicited, "to a SNAT port, but no session has that backend, address and port")                   \
    X(reply_too_big, "a backend's reply exceeds the MTU of the client's port")                            \
    /* punt: to the kernel, net/punt_class.h */                                                          \
    X(punt_limited, "for the kernel, more of its class than the limit lets through")                     \
    X(punt_full, "for the kernel, which does not take frames as fast as they come")                      \
    /* transmit: the frame is ready, which service it was of is not known any more */                   \
    X(tx_full, "the device refused the frame")                                                           \
    X(port_down, "the port that the frame was to leave by is down or being set up again")                \
    /* a service is known from here on */                                                                 \
    X(no_backend, "the service's pool has no backend that may get traffic")                               \
    X(no_neighbor, "the backend's next hop has no known MAC address")                                     \
    X(too_big, "packet and tunnel headers exceed the port's MTU")                                         \
    X(no_headroom, "no room in the mbuf for the tunnel headers")                                          \
    X(no_session, "mode nat: a TCP segment without a session that begins none")                           \
    X(no_snat_port, "mode nat: no SNAT address, or none with a port left towards that backend")           \
    X(session_full, "mode nat: no room for a session")                                                    \
    X(flow_cut, "of a flow that weir has ended: its backend could not be told, the client has been")
// clang-format on

enum class DropReason : std::uint8_t {
#define WEIR_DROP_ENUM(name, help) name,
    WEIR_DROP_REASONS(WEIR_DROP_ENUM)
#undef WEIR_DROP_ENUM
};

inline constexpr std::array kDropReasonNames = {
#define WEIR_DROP_NAME(name, help) std::string_view{#name},
    WEIR_DROP_REASONS(WEIR_DROP_NAME)
#undef WEIR_DROP_NAME
};

inline constexpr std::array kDropReasonHelp = {
#define WEIR_DROP_HELP(name, help) std::string_view{help},
    WEIR_DROP_REASONS(WEIR_DROP_HELP)
#undef WEIR_DROP_HELP
};

// What a check that passed returns.
inline constexpr DropReason kNotDropped{0xff};

inline constexpr std::size_t kDropReasons = kDropReasonNames.size();
inline constexpr DropReason kFirstServiceReason = DropReason::no_backend;
inline constexpr std::size_t kServiceDropReasons =
    kDropReasons - static_cast<std::size_t>(kFirstServiceReason);

constexpr std::string_view name_of(DropReason reason) noexcept {
    return kDropReasonNames[static_cast<std::size_t>(reason)];
}

static_assert(kDropReasons <= 64);

}  // namespace weir
