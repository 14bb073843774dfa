// punt: what is for the kernel, each packet in a class with a limit of its own; and out of the buffer to the
// host thread.
//
// Exits: burst.punted (the frame is in the buffer), or a drop: punt_limited here, punt_full at the flush.
// Frames go up as they came, the device's checksum verdicts apart.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/burst.h"
#include "dataplane/state/host_flows.h"
#include "dataplane/state/punt_limits.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

// What a worker needs to punt. Without `limits` none holds (tests, benchmarks); without `flows` nobody is
// known to talk (replay: a capture has no kernel).
struct PuntPath {
    PuntLimits* limits = nullptr;
    const HostFlows* flows = nullptr;
};

// What goes up with this burst. Per worker.
class PuntBuffer {
  public:
    void push(rte_mbuf* packet, PuntClass punt_class) noexcept {
        classes_[count_] = punt_class;
        packets_[count_++] = packet;
    }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

    // Room of the host's that only vital classes may take: junk within its limits may come in bursts that
    // fill all the rest.
    static constexpr std::uint32_t kVitalRoom = 128;

    // Gives the frames to `host` (HostRings, or the one of a replay); what it refuses is the drop punt_full.
    // Punted is counted here, when the host thread can have the frame.
    template <class Host>
    void flush(Host& host, WorkerCounters& counters) noexcept {
        keep_room(host.punt_room(), counters);
        const std::uint32_t taken = host.punt(std::span(packets_.data(), count_));
        counters.punted.add(taken);
        for (std::uint32_t i = 0; i < taken; ++i)
            counters.punted_by_class[static_cast<std::size_t>(classes_[i])].add(1);
        if (taken < count_) {
            counters.dropped[static_cast<std::size_t>(DropReason::punt_full)].add(count_ - taken);
            rte_pktmbuf_free_bulk(packets_.data() + taken, count_ - taken);
        }
        count_ = 0;
    }

  private:
    // Drops what is not vital and would take the last of the room; the others stay in order.
    void keep_room(std::uint32_t room, WorkerCounters& counters) noexcept {
        if (room >= kVitalRoom + count_) [[likely]]
            return;
        std::uint32_t kept = 0;
        for (std::uint32_t i = 0; i < count_; ++i) {
            if (!is_vital(classes_[i]) && room < kVitalRoom + kept + 1) {
                counters.drop(DropReason::punt_full);
                rte_pktmbuf_free(packets_[i]);
                continue;
            }
            classes_[kept] = classes_[i];
            packets_[kept++] = packets_[i];
        }
        count_ = kept;
    }

    std::uint32_t count_ = 0;
    std::array<rte_mbuf*, kBurstSize> packets_;
    std::array<PuntClass, kBurstSize> classes_;
};

struct PuntContext {
    const PuntPath& path;
    PuntBuffer& buffer;
    WorkerCounters& counters;
    Tick now;
};

// Precondition: burst.for_host holds packets that parse, classify and answer have put there.
void punt(Burst& burst, const PuntContext& context) noexcept;

}  // namespace weir
