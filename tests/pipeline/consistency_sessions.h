// What weir promises of the sessions of mode nat, beyond that packets go where those of any mode go: a live
// flow keeps its SNAT address and port, no two have the same towards one backend, a reply comes to its client
// from the VIP whichever worker receives it, and what has left a dead backend hears nothing of it any more.
// Shares no code with weir.
#pragma once

#include <unordered_map>

#include "tests/pipeline/consistency_traffic.h"

namespace weir::test::consistency {

struct Translated {
    std::uint64_t begun = 0, renewed = 0;
    std::uint64_t ended =
        0;  // TCP flows whose session has gone with their backend: dropped until the next SYN
    std::uint64_t replies = 0, late = 0;  // late: of the backend that a flow has left
    // Each of these is a promise broken.
    std::uint64_t rebound = 0, shared = 0, lost_replies = 0, misdirected = 0, revived = 0;
    [[nodiscard]] std::uint64_t wrong() const {
        return rebound + shared + lost_replies + misdirected + revived;
    }
};

// The SNAT address and port of each live flow.
class SnatTuples {
  public:
    explicit SnatTuples(std::uint32_t flows) { owner_.reserve(2 * std::size_t{flows}); }

    // The flow's from now on. may_be_over(slot): whether the flow there may have lost its session unseen.
    template <class MayBeOver>
    void take(Flow& flow, const Tuple& tuple, Translated& found, MayBeOver&& may_be_over) {
        ++found.begun;
        flow.translated = tuple;
        const auto& own = addresses();
        if (std::ranges::find(own, tuple.source) == own.end() || tuple.destination_port != 80)
            ++found.misdirected;
        const auto [entry, is_new] = owner_.try_emplace(key(flow), flow.slot);
        if (is_new) return;
        found.shared += may_be_over(entry->second) ? 0 : 1;
        entry->second = flow.slot;
    }
    void give_back(const Flow& flow) {
        const auto entry = owner_.find(key(flow));
        if (entry != owner_.end() && entry->second == flow.slot) owner_.erase(entry);
    }

  private:
    static const std::vector<IpAddress>& addresses() {
        static const std::vector<IpAddress> all = snat_addresses();
        return all;
    }
    static std::uint64_t key(const Flow& flow) {
        const auto at = static_cast<std::uint64_t>(std::ranges::find(addresses(), flow.translated.source) -
                                                   addresses().begin());
        return std::uint64_t{flow.home} << 32 | at << 24 | std::uint64_t{flow.is_udp()} << 16 |
               flow.translated.source_port;
    }
    std::unordered_map<std::uint64_t, std::uint32_t> owner_;  // its slot
};

}  // namespace weir::test::consistency
