#include "tests/bench/replies.h"

#include <algorithm>

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "tests/bench/bench_world.h"

namespace weir::bench {

namespace {

template <class Header>
struct Frame {
    EthernetHeader ethernet;
    Header ip;
    UdpHeader l4;  // the ports of TCP, too
};
using Frame4 = Frame<Ipv4Header>;
using Frame6 = Frame<Ipv6Header>;

}  // namespace

Replies::Replies(const Row& row) : row_(row), snat_(snat_address(row.family)), sessions_(row.flows) {
    for (std::uint32_t number = 0; number < row.backends; ++number)
        backends_.push_back(backend_address(row, number));
}

void Replies::note(std::uint32_t flow, const rte_mbuf& translated) {
    const auto note_of = [&](const auto& frame) {
        const auto backend = std::ranges::find(backends_, IpAddress(frame.ip.destination));
        sessions_[flow] = {static_cast<std::uint16_t>(backend - backends_.begin()), frame.l4.source};
    };
    if (row_.family == Family::v4)
        note_of(*rte_pktmbuf_mtod(&translated, const Frame4*));
    else
        note_of(*rte_pktmbuf_mtod(&translated, const Frame6*));
}

void Replies::write(const Traffic& traffic, rte_mbuf& packet, std::uint32_t flow,
                    std::uint8_t tcp_flags) const {
    traffic.write_flow(packet, flow, tcp_flags);
    const Session& session = sessions_[flow];
    const IpAddress& backend = backends_[session.backend];
    UdpHeader* l4 = nullptr;
    if (row_.family == Family::v4) {
        auto& frame = *rte_pktmbuf_mtod(&packet, Frame4*);
        frame.ip.source = backend.v4();
        frame.ip.destination = snat_.v4();
        frame.ip.checksum = Be16(0);
        frame.ip.checksum = checksum_of(sum_of_bytes(&frame.ip, sizeof(frame.ip)));
        l4 = &frame.l4;
    } else {
        auto& frame = *rte_pktmbuf_mtod(&packet, Frame6*);
        frame.ip.source = backend.v6();
        frame.ip.destination = snat_.v6();
        l4 = &frame.l4;
    }
    l4->source = Be16(kServicePort);
    l4->destination = session.snat_port;
}

}  // namespace weir::bench
