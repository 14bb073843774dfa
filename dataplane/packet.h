// What weir does to an mbuf, in the few words that it needs. The worker that holds the packet only.
//
// A frame may be a chain of segments (scattered receive). Its headers must lie in the first one; the payload
// is never looked at, so a chain is forwarded as it is.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

#include "dataplane/net/headers.h"
#include "dataplane/net/parse_headers.h"

namespace weir {

inline std::uint8_t* frame_start(rte_mbuf* packet) noexcept {
    return rte_pktmbuf_mtod(packet, std::uint8_t*);
}

// The frame behind its Ethernet header. Precondition: that header lies in the first segment.
inline PacketBytes l3_bytes(const rte_mbuf* packet) noexcept {
    constexpr std::uint32_t kL2 = sizeof(EthernetHeader);
    return {rte_pktmbuf_mtod_offset(packet, const std::uint8_t*, kL2), packet->data_len - kL2,
            packet->pkt_len - kL2};
}

// Cuts the frame to `length` bytes: link padding behind the IP packet. Whole segments may go.
[[gnu::noinline]] inline void trim_frame(rte_mbuf* packet, std::uint32_t length) noexcept {
    if (packet->pkt_len <= length) return;
    packet->pkt_len = length;
    rte_mbuf* segment = packet;
    while (segment->data_len < length) {
        length -= segment->data_len;
        segment = segment->next;
    }
    segment->data_len = static_cast<std::uint16_t>(length);
    if (segment->next == nullptr) return;
    rte_pktmbuf_free(segment->next);
    segment->next = nullptr;
    std::uint16_t segments = 1;
    for (const rte_mbuf* s = packet; s != segment; s = s->next) ++segments;
    packet->nb_segs = segments;
}

// Takes `cut` bytes off the front and puts `put` bytes there instead, of what is then left keeps `length`
// bytes behind them, and returns the new start. Precondition: there is headroom for them.
inline std::uint8_t* replace_front(rte_mbuf* packet, std::uint32_t cut, std::uint32_t put,
                                   std::uint32_t length) noexcept {
    if (packet->nb_segs > 1) [[unlikely]] {
        trim_frame(packet, cut + length);
        packet->data_len = static_cast<std::uint16_t>(packet->data_len - cut + put);
    } else {
        packet->data_len = static_cast<std::uint16_t>(put + length);
    }
    packet->pkt_len = put + length;
    packet->data_off = static_cast<std::uint16_t>(packet->data_off + cut - put);
    return frame_start(packet);
}

// A header that weir writes. The frame may start at any byte; the header structs are packed for that.
template <class Header>
Header& header_at(std::uint8_t* bytes) noexcept {
    return *reinterpret_cast<Header*>(bytes);
}

}  // namespace weir
