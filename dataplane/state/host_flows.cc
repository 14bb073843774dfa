#include "dataplane/state/host_flows.h"

#include <cstring>
#include <limits>
#include <utility>

namespace weir {

namespace {

constexpr std::uint64_t kClosed = 1;

constexpr std::uint32_t tag_of(std::uint64_t hash) noexcept { return static_cast<std::uint32_t>(hash >> 32); }
// Ticks that an entry has left; the least there is for an empty one.
std::int32_t ticks_left(std::uint64_t entry, Tick now) noexcept {
    if (entry == 0) return std::numeric_limits<std::int32_t>::min();
    const auto end = static_cast<std::uint32_t>(entry & ~kClosed);
    return static_cast<std::int32_t>(end - static_cast<std::uint32_t>(now));
}

bool has_header(const PacketBytes& packet, V4) noexcept {
    return packet.contiguous >= sizeof(Ipv4Header) && packet.data[0] >> 4 == 4 && (packet.data[0] & 15) >= 5;
}
bool has_header(const PacketBytes& packet, V6) noexcept {
    return packet.contiguous >= sizeof(Ipv6Header) && packet.data[0] >> 4 == 6;
}

}  // namespace

// The same for both directions.
template <class Key>
std::uint64_t HostFlows::hash_of(Key key) const noexcept {
    const int order = std::memcmp(&key.source, &key.destination, sizeof(key.source));
    if (order > 0 || (order == 0 && key.source_port.value() > key.destination_port.value())) {
        std::swap(key.source, key.destination);
        std::swap(key.source_port, key.destination_port);
    }
    return keyed_hash(key_, key);
}

// No flow has protocol 0.
template <class Key, class Address>
std::uint64_t HostFlows::hash_of_neighbor(const Address& neighbor) const noexcept {
    Key key{};
    key.destination = neighbor;
    return keyed_hash(key_, key);
}

template std::uint64_t HostFlows::hash_of(FlowKeyV4) const noexcept;
template std::uint64_t HostFlows::hash_of(FlowKeyV6) const noexcept;
template std::uint64_t HostFlows::hash_of_neighbor<FlowKeyV4>(const Ipv4Address&) const noexcept;
template std::uint64_t HostFlows::hash_of_neighbor<FlowKeyV6>(const Ipv6Address&) const noexcept;

bool HostFlows::has(std::uint64_t hash, Tick now) const noexcept {
    for (const std::atomic<std::uint64_t>& slot : bucket_of(hash).entries) {
        const std::uint64_t entry = slot.load(std::memory_order_relaxed);
        if (entry >> 32 == tag_of(hash) && ticks_left(entry, now) > 0) return true;
    }
    return false;
}

HostFlows::Note HostFlows::note_of_tcp(std::uint8_t flags) noexcept {
    if ((flags & TcpHeader::kRst) != 0) return {};
    if ((flags & TcpHeader::kSyn) != 0)
        return (flags & TcpHeader::kAck) != 0 ? Note{} : Note{.ticks = kOpeningTicks, .opens = true};
    return (flags & TcpHeader::kFin) != 0 ? Note{.ticks = kClosingTicks, .closes = true}
                                          : Note{.ticks = kTcpTicks};
}

void HostFlows::put(std::uint64_t hash, Tick now, Note note) noexcept {
    Bucket& bucket = bucket_of(hash);
    std::atomic<std::uint64_t>* place = &bucket.entries.front();
    std::int32_t least = std::numeric_limits<std::int32_t>::max();
    for (std::atomic<std::uint64_t>& slot : bucket.entries) {
        const std::uint64_t entry = slot.load(std::memory_order_relaxed);
        const std::int32_t left = ticks_left(entry, now);
        if (entry >> 32 == tag_of(hash) && entry != 0) {
            // The last ACK of a flow that is closed does not keep it.
            if ((entry & kClosed) != 0 && left > 0 && !note.opens) return;
            // Not for every packet of a busy flow: other workers read the line.
            const std::int64_t change = std::int64_t{note.ticks} - left;
            if (change >= 0 && change < kTicksPerSecond) return;
            place = &slot;
            break;
        }
        if (left < least) {
            least = left;
            place = &slot;
        }
    }
    const std::uint64_t end = static_cast<std::uint32_t>(now + note.ticks) & ~kClosed;
    place->store(std::uint64_t{tag_of(hash)} << 32 | end | (note.closes ? kClosed : 0),
                 std::memory_order_relaxed);
}

template <class F>
void HostFlows::note_packet(PacketBytes packet, Tick now) noexcept {
    L4Location l4;
    if (!has_header(packet, F{}) || find_l4(packet, F{}, l4) != kNotDropped || l4.fragment) return;
    if constexpr (F::kFamily == Family::v6) {
        if (l4.protocol == IpProtocol::icmpv6 && packet.contiguous >= l4.offset + sizeof(NeighborMessage) &&
            packet.at<IcmpHeader>(l4.offset).type == IcmpHeader::kNeighborSolicitation)
            put(hash_of_neighbor<FlowKeyV6>(packet.at<NeighborMessage>(l4.offset).target), now,
                {.ticks = kNeighborTicks});
    }
    if (!is_tcp_or_udp(l4.protocol) || check_l4(packet, l4) != kNotDropped) return;
    Note note{.ticks = kUdpTicks};
    if (l4.protocol == IpProtocol::tcp)
        note = note_of_tcp(packet.at<TcpHeader>(l4.offset).flags);
    else if (packet.at<UdpHeader>(l4.offset).source.value() < kFirstEphemeralPort)
        note = {};
    if (note.ticks != 0) put(hash_of(flow_blocks_of(packet, l4, F{}).key()), now, note);
}

void HostFlows::note_sent(const PacketBytes& frame, Tick now) noexcept {
    constexpr std::uint32_t kL2 = sizeof(EthernetHeader);
    if (frame.contiguous < kL2) return;
    const PacketBytes packet{frame.data + kL2, frame.contiguous - kL2, frame.length - kL2};
    switch (static_cast<EtherType>(frame.at<EthernetHeader>(0).type.value())) {
        case EtherType::ipv4:
            return note_packet<V4>(packet, now);
        case EtherType::ipv6:
            return note_packet<V6>(packet, now);
        case EtherType::arp:
            if (packet.contiguous >= sizeof(ArpHeader) && packet.at<ArpHeader>(0).operation == Be16(1))
                put(hash_of_neighbor<FlowKeyV4>(packet.at<ArpHeader>(0).target), now,
                    {.ticks = kNeighborTicks});
            return;
        default:
            return;
    }
}

}  // namespace weir
