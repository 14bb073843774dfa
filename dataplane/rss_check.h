// Whether a NIC brings frames to the queues that weir computes (modes nat and dnat): its key and table were
// written, but a driver may refuse or forget them, and says so to nobody. The first frames of a queue whose
// hash the NIC has left in the mbuf are compared. What comes of it is told to the operator only: a reply that
// comes to another worker than its session's travels by ring, whatever the reason.
//
// The worker that polls the queue.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <span>

#include "dataplane/state/counter.h"
#include "drivers/rss.h"

namespace weir {

class RssCheck {
  public:
    // `workers`: queues of the device.
    void begin(std::uint16_t workers) noexcept {
        workers_ = workers;
        frames_left_ = kFrames;
        hashes_left_ = kHashes;
    }
    [[nodiscard]] bool is_due() const noexcept { return frames_left_ != 0; }

    [[gnu::noinline, gnu::cold]] void look(std::span<rte_mbuf* const> frames, std::uint32_t worker,
                                           Counter& as_computed, Counter& otherwise) noexcept {
        for (const rte_mbuf* frame : frames) {
            if (frames_left_ == 0) return;
            --frames_left_;
            if ((frame->ol_flags & RTE_MBUF_F_RX_RSS_HASH) == 0) continue;
            const auto hash = rss_hash_of_frame(*frame, kRssKey);
            if (!hash) continue;  // no TCP or UDP: steered by other rules
            const std::uint32_t expected_worker = rss_queue(*hash, workers_);
            (*hash == frame->hash.rss && expected_worker == worker ? as_computed : otherwise).add(1);
            if (--hashes_left_ == 0) frames_left_ = 0;
        }
    }

  private:
    static constexpr std::uint32_t kFrames = 4'096, kHashes = 64;

    std::uint16_t workers_ = 1;
    std::uint32_t frames_left_ = 0, hashes_left_ = 0;
};

}  // namespace weir
