#include "dataplane/stages/nat.h"

#include <cstring>

#include "dataplane/packet.h"
#include "dataplane/stages/client_identity.h"
#include "dataplane/stages/nat_tuples.h"
#include "dataplane/stages/rewrite_nat.h"
#include "dataplane/stages/select_backend.h"
#include "dataplane/stages/too_big.h"

namespace weir {

using namespace detail;

NatPart::NatPart(const NatSpec& spec, WorkerCounters& counters) noexcept
    : sessions_(spec.memory, spec.key), worker_(spec.worker), rings_(spec.rings), counters_(counters) {}

BackendId NatPart::backend_of(const Burst& burst, std::uint32_t i, Tick now) noexcept {
    const ClientTuple tuple = client_tuple(burst, i);
    const Session* session = sessions_.find(tuple, sessions_.hash_of(tuple), now);
    return session != nullptr ? BackendId{session->backend} : kNoBackend;
}

// Its SNAT port is free again.
void NatPart::count_end(const Session& session) noexcept {
    if (!session.has(Session::kDnat)) counters_.snat_ports[index(session.snat)].subtract(1);
}

void NatPart::forget(Session& session) noexcept {
    count_end(session);
    sessions_.erase(session);
    counters_.sessions.set(sessions_.entries());
}

// To the worker that has the session, or would have it.
void NatPart::hand_over(Burst& burst, std::uint32_t i, std::uint16_t owner, HandOver note) noexcept {
    rte_mbuf* packet = burst.packet[i];
    packet->port = index(burst.port);
    note.origin = static_cast<std::uint8_t>(worker_);
    note.put_on(packet);
    if (rings_->put(owner, std::span(&packet, 1)) == 0) return burst.drop(i, DropReason::tx_full);
    burst.handed_over.add(i);
    (note.kind == HandOverKind::reply ? counters_.replies_handed_over : counters_.requests_handed_over)
        .add(1);
}

// --- from client to backend

// Who had its tuple, and gives way, ends here.
void NatPart::take_over(Session& holder) noexcept {
    forget(holder);
    counters_.snat_ports_taken_over.add(1);
}

// A port whose reply with the constant comes to this worker: the first free one, or if none of the first
// kFreeLooks is, the first whose session gives way. 0: neither. Precondition: reply.snat_port is any.
std::uint16_t NatPart::find_port(ReplyTuple reply, const SnatPorts& ports, std::uint32_t constant,
                                 std::uint64_t start, const NatContext& context) noexcept {
    Session* over = nullptr;
    std::uint32_t looks = 0;
    bool is_free = false;
    const std::uint16_t port =
        ports.choose(worker_, constant, start, kPortTries, [&](std::uint16_t candidate) {
            reply.snat_port = Be16(candidate);
            Session* holder = sessions_.holder(reply, sessions_.hash_of(reply));
            if (holder == nullptr) return is_free = true;
            if (over == nullptr && gives_way(*holder, context.now, context.world.session_timeouts))
                over = holder;
            return ++looks >= kFreeLooks && over != nullptr;
        });
    if (is_free || over == nullptr) return port;
    const std::uint16_t taken = over->snat_port.value();
    take_over(*over);
    return taken;
}

// A port of an address of the egress port's. False: there is none left.
template <class B>
bool NatPart::take_port(Session& session, const PortRecord& egress, const NatContext& context) noexcept {
    ReplyTuple reply = session.reply_tuple();
    reply.snat_port = Be16(0);
    reply.snat = SnatId{0};
    const std::uint64_t endpoint = sessions_.hash_of(reply);
    Exhausted& exhausted = exhausted_[endpoint % kExhausted];
    const auto tag = static_cast<std::uint32_t>(endpoint >> 32) | 1;
    // Looking through a range in vain costs much: eight times a second and endpoint are enough.
    const std::uint32_t ago =
        static_cast<std::uint32_t>(context.now) - static_cast<std::uint32_t>(exhausted.when);
    if (exhausted.tag == tag && ago < kTicksPerSecond / 8) return false;
    const auto backend = address_in<typename B::Address>(session.backend_address);
    const std::uint64_t start =
        sessions_.hash_of(session.client_tuple()) + static_cast<std::uint32_t>(context.now);
    for (std::size_t n = 0; n < egress.snat.size(); ++n) {
        const SnatAddress& snat = egress.snat[(start + n) % egress.snat.size()];
        if (snat.address.family() != B::kFamily) continue;
        reply.snat = snat.id;
        const std::uint32_t constant =
            reply_hash<B>(backend, address_of<B>(snat.address), session.backend_port, 0);
        const std::uint16_t port = find_port(reply, snat_ports<B>(egress), constant, start, context);
        if (port == 0) continue;
        session.snat = snat.id;
        session.snat_port = Be16(port);
        return true;
    }
    exhausted = {tag, context.now};
    return false;
}

// What makes its replies its own. In mode dnat that is the client's own tuple: no other service may have
// translated it to the same backend and port.
bool NatPart::take_tuple(Session& session, const PortRecord& egress, const NatContext& context) noexcept {
    if (!session.has(Session::kDnat))
        return session.backend_family() == Family::v4 ? take_port<V4>(session, egress, context)
                                                      : take_port<V6>(session, egress, context);
    session.snat = kNoSnat;
    session.snat_port = session.client_port;
    const ReplyTuple reply = session.reply_tuple();
    Session* holder = sessions_.holder(reply, sessions_.hash_of(reply));
    if (holder == nullptr) return true;
    if (!gives_way(*holder, context.now, context.world.session_timeouts)) return false;
    take_over(*holder);
    return true;
}

// A new session, or null, and the packet is dropped.
template <class F>
Session* NatPart::begin(Burst& burst, std::uint32_t i, const NatContext& context, const NatTarget& target,
                        const ClientTuple& client) noexcept {
    const bool is_datagram = burst.event[i] == FlowEvent::datagram;
    if (!is_datagram && burst.event[i] != FlowEvent::syn) {
        burst.drop(i, DropReason::no_session);
        return nullptr;
    }
    const BackendRecord& record = *burst.backend[i];
    const bool keeps_source = record.mode == ForwardingMode::dnat;
    Session session{};
    session.client = client.client;
    session.client_port = client.client_port;
    session.vip_port = client.vip_port;
    session.service = client.service;
    session.backend = target.id;
    session.backend_address = target.address;
    session.backend_port = port_of(target, client.vip_port);
    session.identity = target.identity;
    session.flags = static_cast<std::uint8_t>(
        (is_datagram ? Session::kUdp : 0) | (F::kFamily == Family::v6 ? Session::kV6 : 0) |
        (F::kFamily != target.family ? Session::kNat64 : 0) | (keeps_source ? Session::kDnat : 0));
    session.state = is_datagram ? FlowState::udp_first : FlowState::tcp_opening;
    session.deadline = context.now + session_timeout(session.state, context.world.session_timeouts);
    const PortRecord& egress = context.world.ports[index(record.egress)];
    if (!take_tuple(session, egress, context)) {
        if (egress.resets_when_exhausted && !is_datagram)
            reset_client(burst, i, context.world, context.originated, counters_);
        burst.drop(i, DropReason::no_snat_port);
        return nullptr;
    }
    const auto outcome = sessions_.insert(session, context.now, context.world.session_timeouts,
                                          [this](const Session& gone) noexcept { count_end(gone); });
    counters_.sessions.set(sessions_.entries());
    if (outcome == SessionTable::Outcome::full) {
        burst.drop(i, DropReason::session_full);
        return nullptr;
    }
    counters_.session_inserts.add(1);
    if (!keeps_source) counters_.snat_ports[index(session.snat)].add(1);
    if (outcome == SessionTable::Outcome::evicted) counters_.session_evictions.add(1);
    return sessions_.find(client, sessions_.hash_of(client), context.now);
}

// The session of a client's packet towards the backend that was chosen; null, and the packet is dropped. A
// session towards another one, which may have no more packets, ends here.
template <class F>
Session* NatPart::session_for(Burst& burst, std::uint32_t i, const NatContext& context,
                              std::uint64_t hash) noexcept {
    const NatTarget target = NatTarget::of(*burst.backend[i]);
    const ClientTuple client = client_tuple<F>(burst, i);
    Session* session = sessions_.find(client, hash, context.now);
    if (session != nullptr && session->backend != target.id) {
        forget(*session);
        session = nullptr;
    }
    return session != nullptr ? session : begin<F>(burst, i, context, target, client);
}

template <class F>
void NatPart::forward(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                      const Session& session) noexcept {
    const auto translate_for = [&]<class B>(B) -> NatTuple<B> {
        const auto source = session.has(Session::kDnat)
                                ? address_in<typename B::Address>(session.client)
                                : address_of<B>(world.snat_addresses[index(SnatId{session.snat})]);
        return {source, address_in<typename B::Address>(session.backend_address), session.snat_port,
                session.backend_port};
    };
    if constexpr (F::kFamily == Family::v6)
        if (session.has(Session::kNat64)) return rewrite_6to4(burst, i, translate_for(V4{}), identification_);
    rewrite_nat(burst, i, translate_for(F{}));
}

// Mode dnat: true if another worker has the session, and so gets the packet.
template <class F>
bool NatPart::is_anothers(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world) noexcept {
    if (rings_ == nullptr || burst.is_bound) return false;
    const BackendRecord& record = *burst.backend[i];
    const NatTarget target = NatTarget::of(record);
    const UdpHeader& ports = ports_of(burst, i);
    const std::uint32_t hash =
        reply_hash<F>(address_in<typename F::Address>(target.address), ip_of<F>(burst.packet[i]).source,
                      port_of(target, ports.destination), ports.source.value());
    const std::uint16_t owner = snat_ports<F>(world.ports[index(record.egress)]).owner(hash);
    if (owner == worker_) return false;
    hand_over(
        burst, i, owner,
        {.kind = HandOverKind::session, .origin = 0, .service = burst.service[i], .backend = target.id});
    return true;
}

template <class F>
void NatPart::send(Burst& burst, std::uint32_t i, const NatContext& context, std::uint64_t hash) noexcept {
    const BackendRecord& record = *burst.backend[i];
    if (record.mode == ForwardingMode::dnat && is_anothers<F>(burst, i, context.world)) return;
    Session* session = session_for<F>(burst, i, context, hash);
    if (session == nullptr) return;
    const IpAddress& vip = context.world.service_vips[index(session->service)];
    if (burst.event[i] == FlowEvent::syn)
        begin_identity(*session, NatTarget::of(record).identity, vip,
                       l3_bytes(burst.packet[i]).at<TcpHeader>(burst.l4_offset[i]).sequence);
    note_client(*session, burst.event[i], context.now, context.world.session_timeouts);
    session->client_mac = source_mac(burst.packet[i]);
    session->ingress = burst.port;
    forward<F>(burst, i, context.world, *session);
    std::memcpy(frame_start(burst.packet[i]), record.header.data(), 2 * sizeof(MacAddress));
    if (session->identity != ClientIdentity::none) {
        const OutgoingPacket out{burst.packet[i], record, session->backend_family(), burst.l4_offset[i]};
        const DropReason why = tell_backend(*session, out, vip, counters_);
        if (why != kNotDropped) return burst.drop(i, why);
    }
    BackendCounters& counters = counters_.backends[index(BackendId{session->backend})];
    counters.packets.add(1);
    counters.bytes.add(burst.ip_length[i]);
}

void NatPart::select_bound(Burst& burst, const NatContext& context) noexcept {
    for (const std::uint32_t i : burst.flows) {
        const ServiceRecord& service = context.world.service_records[index(burst.service[i])];
        const BackendId own =
            burst.event[i] != FlowEvent::syn ? backend_of(burst, i, context.now) : kNoBackend;
        const BackendRecord* record = honoured(context.world, service, own);
        if (record == nullptr) record = honoured(context.world, service, burst.pin[i]);
        if (record == nullptr || record->path != RewritePath::nat) {
            burst.drop(i, DropReason::no_backend);
            continue;
        }
        if (!is_sendable(burst.packet[i], burst.ip_length[i], context.world, *record)) {
            burst.drop(i, obstacle(burst, i, *record));
            continue;
        }
        burst.backend[i] = record;
        burst.egress_ports |= 1u << index(record->egress);
        burst.selected_for(RewritePath::nat, i).push(i);
    }
}

// --- from backend to client

// A reply without a session here: its owner's, or nobody's.
template <class F>
void NatPart::turn_away(Burst& burst, std::uint32_t i, const PortRecord& port, SnatId snat) noexcept {
    const auto& ip = ip_of<F>(burst.packet[i]);
    const UdpHeader& ports = ports_of(burst, i);
    const std::uint16_t owner = snat_ports<F>(port).owner(
        reply_hash<F>(ip.source, ip.destination, ports.source, ports.destination.value()));
    if (owner == worker_ || burst.came_by_ring || rings_ == nullptr)
        return burst.drop(i, snat == kNoSnat ? DropReason::not_vip : DropReason::unsolicited);
    hand_over(burst, i, owner, {.kind = HandOverKind::reply, .origin = 0, .service = kNoService});
}

template <class F>
void NatPart::return_to_client(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world,
                               const Session& session) noexcept {
    const IpAddress& vip = world.service_vips[index(session.service)];
    const auto translate_for = [&]<class C>(C) -> NatTuple<C> {
        return {address_of<C>(vip), address_in<typename C::Address>(session.client), session.vip_port,
                session.client_port};
    };
    if constexpr (F::kFamily == Family::v4)
        if (session.has(Session::kNat64)) return rewrite_4to6(burst, i, translate_for(V6{}));
    rewrite_nat(burst, i, translate_for(F{}));
}

// False: the reply is too long for its client's port, and may not be fragmented.
template <class F>
bool NatPart::fits(const Burst& burst, std::uint32_t i, const NatContext& context,
                   const Session& session) noexcept {
    const std::uint32_t mtu = context.world.ports[index(session.ingress)].mtu;
    const bool grows = session.has(Session::kNat64);
    const std::uint32_t growth =
        grows ? sizeof(Ipv6Header) - std::min<std::uint32_t>(burst.l4_offset[i], sizeof(Ipv6Header)) : 0;
    if (burst.ip_length[i] + growth <= mtu) return true;
    if constexpr (F::kFamily == Family::v4)
        if (grows && may_be_fragmented(ip_of<F>(burst.packet[i]))) return true;
    if (too_big_errors_.take(context.now))
        tell_too_big(burst, i, mtu - growth, context.world, context.originated, counters_);
    return false;
}

template <class F>
void NatPart::send_back(Burst& burst, std::uint32_t i, const NatContext& context,
                        std::uint64_t hash) noexcept {
    const ForwardingSnapshot& world = context.world;
    const PortRecord& port = world.ports[index(burst.port)];
    const ReplyTuple tuple = reply_tuple<F>(burst, i, port);
    Session* session = sessions_.find(tuple, hash, context.now);
    if (session == nullptr) return turn_away<F>(burst, i, port, tuple.snat);
    if (world.service_records[index(session->service)].table == nullptr)  // removed: its VIP is nobody's
        return burst.drop(i, DropReason::unsolicited);
    burst.service[i] = session->service;
    if (!fits<F>(burst, i, context, *session)) return burst.drop(i, DropReason::reply_too_big);
    if (session->has(Session::kNat64) && burst.packet[i]->data_off + burst.l4_offset[i] < sizeof(Ipv6Header))
        return burst.drop(i, DropReason::no_headroom);
    note_reply(*session, burst.event[i], context.now, world.session_timeouts);
    if (session->identity != ClientIdentity::none) {
        const DropReason why = hear_backend(*session, burst.packet[i], burst.l4_offset[i]);
        if (why != kNotDropped) return burst.drop(i, why);
    }
    std::uint32_t identification = 0;
    if constexpr (F::kFamily == Family::v4)
        identification = ip_of<F>(burst.packet[i]).identification.value();  // RFC 7915 4.1
    return_to_client<F>(burst, i, world, *session);
    const PortRecord& exit = world.ports[index(session->ingress)];
    auto& ethernet = header_at<EthernetHeader>(frame_start(burst.packet[i]));
    ethernet.destination = session->client_mac;
    ethernet.source = exit.mac;
    if (burst.ip_length[i] > exit.mtu &&
        !fragment_ipv6(burst, i, exit.mtu, identification, session->ingress, context.originated)) [[unlikely]]
        return burst.drop(i, DropReason::reply_too_big);
    burst.backend[i] = &world.exits[index(session->ingress)];
    burst.egress_ports |= 1u << index(session->ingress);
    counters_.replies.add(1);
}

// Cells, then records are asked for before the first session is looked at: no packet waits for memory on its
// own.
void NatPart::seek(const Burst& burst, const ForwardingSnapshot& world, Hashes& hashes) const noexcept {
    const PortRecord& port = world.ports[index(burst.port)];
    const auto& v4 = burst.selected[Burst::list_of(RewritePath::nat, Family::v4)];
    const auto& v6 = burst.selected[Burst::list_of(RewritePath::nat, Family::v6)];
    for (const std::uint32_t i : v4)
        sessions_.prefetch_client(hashes[i] = sessions_.hash_of(client_tuple<V4>(burst, i)));
    for (const std::uint32_t i : v6)
        sessions_.prefetch_client(hashes[i] = sessions_.hash_of(client_tuple<V6>(burst, i)));
    for (const std::uint32_t i : burst.replies) {
        hashes[i] = sessions_.hash_of(burst.family[i] == Family::v4 ? reply_tuple<V4>(burst, i, port)
                                                                    : reply_tuple<V6>(burst, i, port));
        sessions_.prefetch_reply(hashes[i]);
    }
    for (const std::uint32_t i : v4) sessions_.prefetch_client_record(hashes[i]);
    for (const std::uint32_t i : v6) sessions_.prefetch_client_record(hashes[i]);
    for (const std::uint32_t i : burst.replies) sessions_.prefetch_reply_record(hashes[i]);
}

void NatPart::refuse(Burst& burst) noexcept {
    for (const Family family : {Family::v4, Family::v6})
        for (const std::uint32_t i : burst.selected[Burst::list_of(RewritePath::nat, family)])
            burst.drop(i, DropReason::session_full);
    for (const std::uint32_t i : burst.replies) burst.drop(i, DropReason::unsolicited);
}

void NatPart::translate(Burst& burst, const NatContext& context) noexcept {
    if (!is_on()) [[unlikely]]  // no sessions were asked for at the start
        return refuse(burst);
    Hashes hashes;
    seek(burst, context.world, hashes);
    for (const std::uint32_t i : burst.selected[Burst::list_of(RewritePath::nat, Family::v4)])
        send<V4>(burst, i, context, hashes[i]);
    for (const std::uint32_t i : burst.selected[Burst::list_of(RewritePath::nat, Family::v6)])
        send<V6>(burst, i, context, hashes[i]);
    for (const std::uint32_t i : burst.replies)
        burst.family[i] == Family::v4 ? send_back<V4>(burst, i, context, hashes[i])
                                      : send_back<V6>(burst, i, context, hashes[i]);
}

void NatPart::sweep(const ForwardingSnapshot& world, Tick now, std::uint32_t records,
                    bool looks_for_gone) noexcept {
    const auto is_gone = [&](const Session& session) noexcept {
        if (!looks_for_gone) return false;
        if (index(session.service) >= world.service_records.size()) return true;
        const ServiceRecord& service = world.service_records[index(session.service)];
        return service.table == nullptr ||
               world.view_of(service)[BackendId{session.backend}].state == TrafficState::absent;
    };
    (void)sessions_.sweep(records, now, is_gone, [this](const Session& gone) noexcept { count_end(gone); });
    counters_.sessions.set(sessions_.entries());
}

}  // namespace weir
