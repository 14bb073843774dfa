// The memory of a flow table under test, and a look at it from outside.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "dataplane/state/flow_table.h"

namespace weir {

class FlowTableMemory {
  public:
    explicit FlowTableMemory(std::uint64_t flows)
        : buckets_(FlowTable::bytes_for(flows) / sizeof(FlowBucket), FlowBucket{}) {}

    [[nodiscard]] std::span<std::byte> bytes() { return std::as_writable_bytes(std::span(buckets_)); }
    [[nodiscard]] std::vector<FlowBucket>& buckets() { return buckets_; }

    // The two buckets of a hash, by the formulas of flow_table.h.
    [[nodiscard]] std::uint32_t first(std::uint64_t hash) const {
        return static_cast<std::uint32_t>((hash >> 32) * buckets_.size() >> 32);
    }
    [[nodiscard]] std::uint32_t other(std::uint32_t at, std::uint32_t tag) const {
        const std::uint64_t n = buckets_.size();
        return static_cast<std::uint32_t>(((tag * n >> 32) + n - at) % n);
    }

    // Recounts what the buckets count.
    void expect_consistent(const FlowTable& table) const {
        std::vector<std::uint32_t> overflow(buckets_.size());
        std::uint64_t entries = 0;
        for (std::uint32_t at = 0; at < buckets_.size(); ++at) {
            for (unsigned slot = 0; slot < FlowBucket::kSlots; ++slot) {
                const FlowBucket& bucket = buckets_[at];
                if (!bucket.is_empty(slot)) ++entries;
                if (!bucket.is_displaced(slot)) continue;
                ASSERT_FALSE(bucket.is_empty(slot)) << "bucket " << at;
                ASSERT_NE(other(at, bucket.tags[slot]), at);
                ++overflow[other(at, bucket.tags[slot])];
            }
        }
        ASSERT_EQ(table.entries(), entries);
        for (std::uint32_t at = 0; at < buckets_.size(); ++at)
            ASSERT_EQ(buckets_[at].overflow, overflow[at]) << "bucket " << at;
    }

  private:
    std::vector<FlowBucket> buckets_;
};

inline constexpr auto kNobodyGone = [](FlowOwner) { return false; };
inline constexpr auto kIgnoreRemoved = [](FlowOwner) {};

}  // namespace weir
