// The tuples that the stage nat reads from packets and sessions, and whose replies they are. For nat.cc only.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "dataplane/burst.h"
#include "dataplane/net/family.h"
#include "dataplane/packet.h"
#include "dataplane/state/session.h"
#include "dataplane/tables/forwarding_snapshot.h"
#include "drivers/rss.h"

namespace weir::detail {

template <class F>
const auto& ip_of(const rte_mbuf* packet) noexcept {
    return l3_bytes(packet).at<typename F::Header>(0);
}
inline const UdpHeader& ports_of(const Burst& burst, std::uint32_t i) noexcept {
    return l3_bytes(burst.packet[i]).at<UdpHeader>(burst.l4_offset[i]);
}

template <class F>
ClientTuple client_tuple(const Burst& burst, std::uint32_t i) noexcept {
    return {session_address(ip_of<F>(burst.packet[i]).source),
            ports_of(burst, i).source,
            ports_of(burst, i).destination,
            burst.service[i],
            burst.protocol(i),
            F::kFamily};
}
inline ClientTuple client_tuple(const Burst& burst, std::uint32_t i) noexcept {
    return burst.family[i] == Family::v4 ? client_tuple<V4>(burst, i) : client_tuple<V6>(burst, i);
}

// Of the reply by which the packet, which comes from there, may find its session.
template <class F>
ReplyTuple reply_tuple(const Burst& burst, std::uint32_t i, const PortRecord& port) noexcept {
    const auto& ip = ip_of<F>(burst.packet[i]);
    const IpAddress destination{ip.destination};
    SnatId snat = kNoSnat;
    for (const SnatAddress& own : port.snat)
        if (own.address == destination) snat = own.id;
    return {session_address(ip.source),
            snat == kNoSnat ? session_address(ip.destination) : SessionAddress{},
            ports_of(burst, i).source,
            ports_of(burst, i).destination,
            snat,
            burst.protocol(i),
            F::kFamily};
}

template <class Address>
Address address_in(const SessionAddress& bytes) noexcept {
    Address address;
    std::memcpy(&address, bytes.data(), sizeof(address));
    return address;
}

template <class F>
typename F::Address address_of(const IpAddress& address) noexcept {
    if constexpr (F::kFamily == Family::v4)
        return address.v4();
    else
        return address.v6();
}

// Toeplitz of a reply's tuple.
template <class F>
std::uint32_t reply_hash(const typename F::Address& backend, const typename F::Address& destination,
                         Be16 backend_port, std::uint16_t port) noexcept {
    using Wire = std::array<std::uint8_t, sizeof(typename F::Address)>;
    return rss_hash(kRssKey, std::bit_cast<Wire>(backend), std::bit_cast<Wire>(destination),
                    backend_port.value(), port);
}

template <class F>
const SnatPorts& snat_ports(const PortRecord& port) noexcept {
    return F::kFamily == Family::v4 ? *port.snat_ports_v4 : *port.snat_ports_v6;
}

inline MacAddress source_mac(const rte_mbuf* packet) noexcept {
    return rte_pktmbuf_mtod(packet, const EthernetHeader*)->source;
}

inline Be16 port_of(const NatTarget& target, Be16 dialled) noexcept {
    return target.port.raw() != 0 ? target.port : dialled;
}

}  // namespace weir::detail
