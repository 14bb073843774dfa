#include "dataplane/tables/backend_table.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

void expect_absent(const BackendRecord& record, std::uint32_t id) {
    EXPECT_EQ(record.pool, kNoPool) << id;
    EXPECT_EQ(record.state, TrafficState::absent) << id;
    EXPECT_FALSE(record.resolved) << id;
    EXPECT_EQ(record.max_packet_length, 0) << "nothing fits: " << id;
}

// All that 20 bits of a flow's entry can say: a false match, or one of an older world, must find a record.
TEST(BackendView, every_id_has_a_record_and_unknown_ones_an_absent_one) {
    auto chunk = std::make_shared<BackendChunk>();
    for (std::uint32_t i = 0; i < kBackendsPerChunk; ++i) {
        (*chunk)[i].pool = PoolId{static_cast<std::uint16_t>(i)};
        (*chunk)[i].state = TrafficState::serving;
    }
    const BackendView empty, two({chunk, chunk});
    for (std::uint32_t id = 0; id < 1u << 20; ++id) {
        ASSERT_EQ(empty[BackendId{id}].pool, kNoPool) << id;
        ASSERT_EQ(two[BackendId{id}].pool == kNoPool, id >= 2 * kBackendsPerChunk) << id;
        if (id < 2 * kBackendsPerChunk) {
            ASSERT_EQ(&two[BackendId{id}], &(*chunk)[id % kBackendsPerChunk]) << id;
        }
    }
    for (const std::uint32_t id : {0u, 2 * kBackendsPerChunk, kMaxBackends, (1u << 20) - 1})
        expect_absent(id == 0 ? empty[BackendId{id}] : two[BackendId{id}], id);
}

// Snapshots are copied where they are compiled in increments; the records must still be the copy's own.
TEST(BackendView, a_copy_outlives_its_original) {
    auto chunk = std::make_shared<BackendChunk>();
    (*chunk)[5].pool = PoolId{77};
    auto original = std::make_unique<BackendView>(std::vector<std::shared_ptr<const BackendChunk>>{chunk});
    const BackendView copy = *original;
    original.reset();
    chunk.reset();
    EXPECT_EQ(copy[BackendId{5}].pool, PoolId{77});
    EXPECT_EQ(copy[BackendId{kBackendsPerChunk}].pool, kNoPool);
}

}  // namespace
}  // namespace weir
