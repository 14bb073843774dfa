#include "dataplane/stages/probe.h"

#include "dataplane/net/parse_headers.h"
#include "dataplane/stages/parse.h"
#include "dataplane/stages/rewrite.h"
#include "dataplane/stages/select_backend.h"

namespace weir {

namespace {

// False: it cannot go.
template <class F>
bool steer(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, const ProbePorts& ports) noexcept {
    PacketBytes packet = l3_bytes(burst.packet[i]);
    packet.length = burst.ip_length[i];
    L4Location l4;
    if (find_l4(packet, F{}, l4) != kNotDropped || l4.fragment || !is_tcp_or_udp(l4.protocol) ||
        check_l4(packet, l4) != kNotDropped)
        return false;
    const auto& destination = packet.at<typename F::Header>(0).destination;
    if (world.services.find_vip(destination) == ServiceTable::kNotVip) return false;
    const auto way = ports.find(l4.protocol, packet.at<UdpHeader>(l4.offset).source.value());
    if (!way) return false;
    const BackendRecord& record = world.backends[static_cast<std::size_t>(way->mode)][way->backend];
    if (!detail::is_sendable(burst.packet[i], burst.ip_length[i], world, record)) return false;
    burst.l4_offset[i] = l4.offset;
    burst.family[i] = F::kFamily;
    // The protocol is all that rewrite asks of it.
    burst.event[i] = l4.protocol == IpProtocol::udp ? FlowEvent::datagram : FlowEvent::syn;
    burst.backend[i] = &record;
    burst.selected_for(record.path, i).push(i);
    return true;
}

bool steer(Burst& burst, std::uint32_t i, const ForwardingSnapshot& world, const ProbePorts& ports) noexcept {
    const PortRecord& port = world.ports[index(burst.port)];
    header_at<EthernetHeader>(frame_start(burst.packet[i])).destination = port.mac;
    switch (parse(burst, i, port)) {
        case Parsed::ipv4:
            return steer<V4>(burst, i, world, ports);
        case Parsed::ipv6:
            return steer<V6>(burst, i, world, ports);
        case Parsed::done:
            break;
    }
    return false;
}

}  // namespace

void steer_probes(Burst& burst, const ForwardingSnapshot& world, const ProbePorts* ports) noexcept {
    for (std::uint32_t i = 0; i < burst.size; ++i)
        if (ports == nullptr || !steer(burst, i, world, *ports)) burst.dropped.add(i);
    rewrite(burst, world);
}

}  // namespace weir
