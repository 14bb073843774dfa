#include "drivers/mbuf_bytes.h"

#include <algorithm>

namespace weir {

rte_mbuf* to_mbuf(rte_mempool& pool, std::span<const std::uint8_t> bytes) noexcept {
    if (bytes.size() > kLongestFrame) return nullptr;
    rte_mbuf* frame = nullptr;
    do {
        rte_mbuf* segment = rte_pktmbuf_alloc(&pool);
        if (segment == nullptr) {
            rte_pktmbuf_free(frame);
            return nullptr;
        }
        const auto length =
            static_cast<std::uint16_t>(std::min<std::size_t>(rte_pktmbuf_tailroom(segment), bytes.size()));
        std::copy_n(bytes.begin(), length, rte_pktmbuf_mtod(segment, std::uint8_t*));
        segment->data_len = length;
        segment->pkt_len = length;
        bytes = bytes.subspan(length);
        if (frame == nullptr) {
            frame = segment;
        } else if (rte_pktmbuf_chain(frame, segment) != 0) {
            rte_pktmbuf_free(segment);
            rte_pktmbuf_free(frame);
            return nullptr;
        }
    } while (!bytes.empty());
    return frame;
}

std::vector<std::uint8_t> bytes_of(const rte_mbuf& frame) {
    std::vector<std::uint8_t> bytes;
    bytes.reserve(frame.pkt_len);
    for (const rte_mbuf* segment = &frame; segment != nullptr; segment = segment->next) {
        const auto* data = rte_pktmbuf_mtod(segment, const std::uint8_t*);
        bytes.insert(bytes.end(), data, data + segment->data_len);
    }
    return bytes;
}

}  // namespace weir
