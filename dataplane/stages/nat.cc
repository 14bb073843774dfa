#include "dataplane/stages/nat.h"

#include <cstring>

#include "dataplane/net/checksum.h"
#include "dataplane/net/family.h"
#include "dataplane/packet.h"
#include "dataplane/stages/client_identity.h"
#include "drivers/rss.h"

namespace weir {

namespace {

template <class F>
const auto& ip_of(const rte_mbuf* packet) noexcept {
    return l3_bytes(packet).at<typename F::Header>(0);
}
const UdpHeader& ports_of(const Burst& burst, std::uint32_t i) noexcept {
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
std::uint32_t reply_hash(const typename F::Address& backend, const typename F::Address& snat,
                         Be16 backend_port, std::uint16_t snat_port) noexcept {
    using Wire = std::array<std::uint8_t, sizeof(typename F::Address)>;
    return rss_hash(kRssKey, std::bit_cast<Wire>(backend), std::bit_cast<Wire>(snat), backend_port.value(),
                    snat_port);
}

template <class F>
const SnatPorts& snat_ports(const PortRecord& port) noexcept {
    return F::kFamily == Family::v4 ? *port.snat_ports_v4 : *port.snat_ports_v6;
}

struct L4Endpoints {
    Be16 source, destination;
};

void mend_l4(std::uint8_t* l4, IpProtocol protocol, bool may_have_none, ChecksumSum before,
             ChecksumSum after) noexcept {
    if (protocol == IpProtocol::tcp) {
        auto& tcp = header_at<TcpHeader>(l4);
        tcp.checksum = updated_checksum(tcp.checksum, before, after);
        return;
    }
    auto& udp = header_at<UdpHeader>(l4);
    if (may_have_none && udp.checksum.raw() == 0) return;  // RFC 768: there is none
    udp.checksum = updated_checksum(udp.checksum, before, after);
    if (udp.checksum.raw() == 0) udp.checksum = Be16(0xffff);
}

// Addresses and ports of the packet, and every checksum that they are part of.
template <class F>
void rewrite_tuple(const Burst& burst, std::uint32_t i, const typename F::Address& source,
                   const typename F::Address& destination, L4Endpoints ports) noexcept {
    std::uint8_t* bytes = frame_start(burst.packet[i]) + sizeof(EthernetHeader);
    auto& ip = header_at<typename F::Header>(bytes);
    std::uint8_t* l4 = bytes + burst.l4_offset[i];
    auto& l4_ports = header_at<UdpHeader>(l4);
    constexpr std::size_t kAddresses = 2 * sizeof(source);
    ChecksumSum before =
        sum_of_bytes(&ip.source, sizeof(source)) + sum_of_bytes(&ip.destination, sizeof(source));
    static_assert(offsetof(typename F::Header, destination) ==
                  offsetof(typename F::Header, source) + kAddresses / 2);
    ip.source = source;
    ip.destination = destination;
    ChecksumSum after = sum_of_bytes(&source, sizeof(source)) + sum_of_bytes(&destination, sizeof(source));
    if constexpr (F::kFamily == Family::v4) ip.checksum = updated_checksum(ip.checksum, before, after);
    before += ChecksumSum{l4_ports.source.raw()} + l4_ports.destination.raw();
    after += ChecksumSum{ports.source.raw()} + ports.destination.raw();
    l4_ports.source = ports.source;
    l4_ports.destination = ports.destination;
    mend_l4(l4, burst.protocol(i), F::kFamily == Family::v4, before, after);
}

MacAddress source_mac(const rte_mbuf* packet) noexcept {
    return rte_pktmbuf_mtod(packet, const EthernetHeader*)->source;
}

}  // namespace

NatPart::NatPart(const NatSpec& spec, WorkerCounters& counters) noexcept
    : sessions_(spec.memory, spec.key),
      worker_(spec.worker),
      workers_(spec.rings != nullptr ? spec.rings->workers() : 1),
      rings_(spec.rings),
      counters_(counters) {}

BackendId NatPart::backend_of(const Burst& burst, std::uint32_t i, Tick now) noexcept {
    const ClientTuple tuple =
        burst.family[i] == Family::v4 ? client_tuple<V4>(burst, i) : client_tuple<V6>(burst, i);
    const Session* session = sessions_.find(tuple, sessions_.hash_of(tuple), now);
    return session != nullptr ? session->backend : kNoBackend;
}

void NatPart::forget(Session& session) noexcept {
    sessions_.erase(session);
    counters_.sessions.set(sessions_.entries());
}

// A port whose reply comes to this worker, of an address of the egress port's. False: there is none left.
template <class F>
bool NatPart::take_port(Session& session, const PortRecord& egress, Tick now) noexcept {
    ReplyTuple reply = session.reply_tuple();
    reply.snat_port = Be16(0);
    reply.snat = SnatId{0};
    const std::uint64_t endpoint = sessions_.hash_of(reply);
    Exhausted& exhausted = exhausted_[endpoint % kExhausted];
    const auto tag = static_cast<std::uint32_t>(endpoint >> 32) | 1;
    // Looking through a range in vain costs much: once a tick and endpoint is enough.
    if (exhausted.tag == tag && exhausted.when == now) return false;
    const auto backend = address_in<typename F::Address>(session.backend_address);
    const std::uint64_t start = sessions_.hash_of(session.client_tuple()) + static_cast<std::uint32_t>(now);
    for (std::size_t n = 0; n < egress.snat.size(); ++n) {
        const SnatAddress& snat = egress.snat[(start + n) % egress.snat.size()];
        if (snat.address.family() != F::kFamily) continue;
        reply.snat = snat.id;
        const std::uint32_t constant =
            reply_hash<F>(backend, address_of<F>(snat.address), session.backend_port, 0);
        const std::uint16_t port =
            snat_ports<F>(egress).choose(worker_, constant, start, kPortTries, [&](std::uint16_t candidate) {
                reply.snat_port = Be16(candidate);
                return !sessions_.is_taken(reply, sessions_.hash_of(reply));
            });
        if (port == 0) continue;
        session.snat = snat.id;
        session.snat_port = Be16(port);
        return true;
    }
    exhausted = {tag, now};
    return false;
}

// A new session, or null, and the packet is dropped.
template <class F>
Session* NatPart::begin(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                        const NatTarget& target, const ClientTuple& client, Tick now) noexcept {
    const bool is_datagram = burst.event[i] == FlowEvent::datagram;
    if (!is_datagram && burst.event[i] != FlowEvent::syn) {
        burst.drop(i, DropReason::no_session);
        return nullptr;
    }
    Session session{};
    session.client = client.client;
    session.client_port = client.client_port;
    session.vip_port = client.vip_port;
    session.service = client.service;
    session.backend = target.id;
    session.backend_address = target.address;
    session.backend_port = target.port.raw() != 0 ? target.port : client.vip_port;
    session.identity = target.identity;
    session.flags = static_cast<std::uint8_t>((is_datagram ? Session::kUdp : 0) |
                                              (F::kFamily == Family::v6 ? Session::kV6 : 0));
    session.state = is_datagram ? FlowState::udp_first : FlowState::tcp_opening;
    session.deadline = now + session_timeout(session.state, world.session_timeouts);
    if (!take_port<F>(session, world.ports[index(burst.backend[i]->egress)], now)) {
        burst.drop(i, DropReason::no_snat_port);
        return nullptr;
    }
    const auto outcome = sessions_.insert(session, now, [](const Session&) noexcept {});
    counters_.sessions.set(sessions_.entries());
    if (outcome == SessionTable::Outcome::full) {
        burst.drop(i, DropReason::session_full);
        return nullptr;
    }
    counters_.session_inserts.add(1);
    if (outcome == SessionTable::Outcome::evicted) counters_.session_evictions.add(1);
    return sessions_.find(client, sessions_.hash_of(client), now);
}

// The session of a client's packet towards the backend that was chosen; null, and the packet is dropped. A
// session towards another one, which may have no more packets, ends here.
template <class F>
Session* NatPart::session_for(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                              Tick now) noexcept {
    const NatTarget target = NatTarget::of(*burst.backend[i]);
    const ClientTuple client = client_tuple<F>(burst, i);
    Session* session = sessions_.find(client, sessions_.hash_of(client), now);
    if (session != nullptr && session->backend != target.id) {
        forget(*session);
        session = nullptr;
    }
    return session != nullptr ? session : begin<F>(burst, i, world, target, client, now);
}

template <class F>
void NatPart::send(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, Tick now) noexcept {
    Session* session = session_for<F>(burst, i, world, now);
    if (session == nullptr) return;
    const IpAddress& vip = world.service_vips[index(session->service)];
    if (burst.event[i] == FlowEvent::syn)
        begin_identity(*session, NatTarget::of(*burst.backend[i]).identity, vip,
                       l3_bytes(burst.packet[i]).at<TcpHeader>(burst.l4_offset[i]).sequence);
    note_client(*session, burst.event[i], now, world.session_timeouts);
    session->client_mac = source_mac(burst.packet[i]);
    session->ingress = burst.port;
    const auto snat = address_of<F>(world.snat_addresses[index(session->snat)]);
    rewrite_tuple<F>(burst, i, snat, address_in<typename F::Address>(session->backend_address),
                     {session->snat_port, session->backend_port});
    std::memcpy(frame_start(burst.packet[i]), burst.backend[i]->header.data(), 2 * sizeof(MacAddress));
    if (session->identity != ClientIdentity::none) {
        const OutgoingPacket out{burst.packet[i], *burst.backend[i], session->backend_family(),
                                 burst.l4_offset[i]};
        const DropReason why = tell_backend(*session, out, vip, counters_);
        if (why != kNotDropped) return burst.drop(i, why);
    }
    BackendCounters& counters = counters_.backends[index(session->backend)];
    counters.packets.add(1);
    counters.bytes.add(burst.ip_length[i]);
}

// A reply without a session here: its owner's, or nobody's.
template <class F>
void NatPart::turn_away(Burst& burst, std::uint32_t i, const PortRecord& port) noexcept {
    const auto& ip = ip_of<F>(burst.packet[i]);
    const UdpHeader& ports = ports_of(burst, i);
    const std::uint16_t owner = snat_ports<F>(port).owner(
        reply_hash<F>(ip.source, ip.destination, ports.source, ports.destination.value()));
    if (owner == worker_ || burst.came_by_ring || rings_ == nullptr)
        return burst.drop(i, DropReason::unsolicited);
    rte_mbuf* packet = burst.packet[i];
    packet->port = index(burst.port);
    HandOver{.kind = HandOverKind::reply, .origin = static_cast<std::uint8_t>(worker_), .service = kNoService}
        .put_on(packet);
    if (rings_->put(owner, std::span(&packet, 1)) == 0) return burst.drop(i, DropReason::tx_full);
    burst.handed_over.add(i);
    counters_.replies_handed_over.add(1);
}

template <class F>
void NatPart::send_back(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, Tick now) noexcept {
    const PortRecord& port = world.ports[index(burst.port)];
    const auto& ip = ip_of<F>(burst.packet[i]);
    const IpAddress destination{ip.destination};
    ReplyTuple tuple{session_address(ip.source),
                     SessionAddress{},
                     ports_of(burst, i).source,
                     ports_of(burst, i).destination,
                     SnatId{0},
                     burst.protocol(i),
                     F::kFamily};
    for (const SnatAddress& snat : port.snat)
        if (snat.address == destination) tuple.snat = snat.id;
    Session* session = sessions_.find(tuple, sessions_.hash_of(tuple), now);
    if (session == nullptr) return turn_away<F>(burst, i, port);
    if (world.service_records[index(session->service)].table == nullptr)  // removed: its VIP is nobody's
        return burst.drop(i, DropReason::unsolicited);
    const PortRecord& exit = world.ports[index(session->ingress)];
    if (burst.ip_length[i] > exit.mtu) return burst.drop(i, DropReason::reply_too_big);
    note_reply(*session, burst.event[i], now, world.session_timeouts);
    if (session->identity != ClientIdentity::none) {
        const DropReason why = hear_backend(*session, burst.packet[i], burst.l4_offset[i]);
        if (why != kNotDropped) return burst.drop(i, why);
    }
    rewrite_tuple<F>(burst, i, address_of<F>(world.service_vips[index(session->service)]),
                     address_in<typename F::Address>(session->client),
                     {session->vip_port, session->client_port});
    auto& ethernet = header_at<EthernetHeader>(frame_start(burst.packet[i]));
    ethernet.destination = session->client_mac;
    ethernet.source = exit.mac;
    burst.backend[i] = &world.exits[index(session->ingress)];
    burst.egress_ports |= 1u << index(session->ingress);
    counters_.replies.add(1);
}

void NatPart::translate(Burst& burst, const ForwardingSnapshot& world, Tick now) noexcept {
    for (const std::uint32_t i : burst.selected[Burst::list_of(RewritePath::nat, Family::v4)])
        send<V4>(burst, i, world, now);
    for (const std::uint32_t i : burst.selected[Burst::list_of(RewritePath::nat, Family::v6)])
        send<V6>(burst, i, world, now);
    for (const std::uint32_t i : burst.replies)
        burst.family[i] == Family::v4 ? send_back<V4>(burst, i, world, now)
                                      : send_back<V6>(burst, i, world, now);
}

void NatPart::sweep(const ForwardingSnapshot& world, Tick now, std::uint32_t records,
                    bool looks_for_gone) noexcept {
    const auto is_gone = [&](const Session& session) noexcept {
        if (!looks_for_gone) return false;
        if (index(session.service) >= world.service_records.size()) return true;
        const ServiceRecord& service = world.service_records[index(session.service)];
        return service.table == nullptr ||
               world.view_of(service)[session.backend].state == TrafficState::absent;
    };
    (void)sessions_.sweep(records, now, is_gone, [](const Session&) noexcept {});
    counters_.sessions.set(sessions_.entries());
}

}  // namespace weir
