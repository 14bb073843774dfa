#include "dataplane/tables/snat_ports.h"

#include <algorithm>

namespace weir {

SnatPorts::SnatPorts(L4PortRange range, const std::array<std::uint32_t, 16>& bit_hashes,
                     std::span<const std::uint16_t> reta)
    : range_(range),
      mask_(static_cast<std::uint32_t>(reta.size() - 1)),
      reta_(reta.begin(), reta.end()),
      first_(reta.size() + 1) {
    const auto bucket_of = [&](std::uint32_t port) {
        std::uint32_t hash = 0;
        for (unsigned bit = 0; bit < 16; ++bit)
            if ((port >> bit & 1) != 0) hash ^= bit_hashes[bit];
        return hash & mask_;
    };
    std::vector<std::vector<std::uint16_t>> lists(reta.size());
    for (std::uint32_t port = std::max<std::uint32_t>(range.first, 1); port <= range.last; ++port)
        lists[bucket_of(port)].push_back(static_cast<std::uint16_t>(port));
    for (std::size_t bucket = 0; bucket < lists.size(); ++bucket) {
        first_[bucket] = static_cast<std::uint32_t>(ports_.size());
        ports_.insert(ports_.end(), lists[bucket].begin(), lists[bucket].end());
        longest_ = std::max(longest_, static_cast<std::uint32_t>(lists[bucket].size()));
    }
    first_.back() = static_cast<std::uint32_t>(ports_.size());
    buckets_of_worker_.resize(1u + *std::ranges::max_element(reta_));
    for (std::size_t bucket = 0; bucket < reta_.size(); ++bucket)
        buckets_of_worker_[reta_[bucket]].push_back(static_cast<std::uint16_t>(bucket));
}

std::uint32_t SnatPorts::ports_of(std::uint32_t worker, std::uint32_t constant) const noexcept {
    std::uint32_t count = 0;
    for (const std::uint32_t owned : buckets_of_worker_[worker]) {
        const std::uint32_t bucket = (owned ^ constant) & mask_;
        count += first_[bucket + 1] - first_[bucket];
    }
    return count;
}

}  // namespace weir
