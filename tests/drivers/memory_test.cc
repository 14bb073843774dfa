// Memory of tables and frames: huge memory, pool sizes, chains.
#include <fstream>

#include "drivers/capture_reader.h"
#include "drivers/capture_writer.h"
#include "drivers/huge_memory.h"
#include "tests/drivers/eal_fixture.h"

namespace weir::test {
namespace {

using MbufTest = DriversTest;

std::size_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::size_t total = 0, resident = 0;
    file >> total >> resident;
    return resident * 4096;
}

TEST(HugeMemoryTest, is_zero_aligned_and_committed_only_when_touched) {
    const std::size_t before = resident_bytes();
    auto memory = HugeMemory::allocate(512u << 20, false);
    ASSERT_TRUE(memory) << memory.error().message;
    EXPECT_NE(memory->kind(), HugeMemory::Kind::hugepages);
    EXPECT_GE(memory->bytes().size(), 512u << 20);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory->bytes().data()) % (2u << 20), 0u);
    EXPECT_LT(resident_bytes() - before, 32u << 20);
    for (std::size_t at = 0; at < memory->bytes().size(); at += 1'000'003)
        ASSERT_EQ(memory->bytes()[at], std::byte{0});
    memory->bytes().back() = std::byte{7};
    const HugeMemory moved = std::move(*memory);
    EXPECT_EQ(moved.bytes().back(), std::byte{7});
}

TEST(HugeMemoryTest, is_given_back) {
    for (int round = 0; round < 20'000; ++round) {
        const auto memory = HugeMemory::allocate(1u << 30, false);
        ASSERT_TRUE(memory) << "round " << round << ": " << memory.error().message;
    }
}

TEST(HugeMemoryTest, falls_back_when_no_hugepages_are_free) {
    // More than any test machine has reserved.
    const auto memory = HugeMemory::allocate(std::size_t{1} << 40, true);
    ASSERT_TRUE(memory) << memory.error().message;
    EXPECT_NE(memory->kind(), HugeMemory::Kind::hugepages);
}

TEST(HugeMemoryTest, more_than_the_address_space_is_an_error_that_says_what_to_lower) {
    const auto memory = HugeMemory::allocate(std::size_t{1} << 60, false);
    ASSERT_FALSE(memory);
    EXPECT_TRUE(says(memory.error().message, {"MB of memory", "flows_per_worker"}));
    EXPECT_EQ(memory.error().cause, Error::Cause::machine);
}

TEST(PoolDemandTest, covers_every_place_where_a_frame_can_be) {
    PoolDemand demand;
    demand.ports = 2;
    demand.workers = 4;
    // 2 x 4 x 2,048 in rings + 4 x (64 + 512 + 384) with workers + 64 + 2 x 384 = 21,056 -> 2^15 - 1
    EXPECT_EQ(frames_needed(demand), 32'767u);
    EXPECT_GT(pool_bytes(32'767, kFrameRoom), 32'767ull * (2'048 + 128 + 128));
}

TEST_F(MbufTest, frames_of_every_length_survive_the_way_through_a_chain) {
    auto* pool = pools_.pool_for(SOCKET_ID_ANY).value();
    for (const std::size_t length : {0u, 1u, 60u, 1514u, 2047u, 2048u, 2049u, 9015u, 65'535u}) {
        const auto bytes = frame_of(length, static_cast<std::uint8_t>(length));
        rte_mbuf* frame = to_mbuf(*pool, bytes);
        ASSERT_NE(frame, nullptr) << length;
        EXPECT_EQ(frame->pkt_len, length);
        EXPECT_EQ(frame->nb_segs, length == 0 ? 1 : (length + 2047) / 2048);
        EXPECT_EQ(bytes_of(*frame), bytes);
        const char* why = nullptr;
        EXPECT_EQ(rte_mbuf_check(frame, 1, &why), 0) << why;
        EXPECT_GE(rte_pktmbuf_headroom(frame), 74);
        rte_pktmbuf_free(frame);
    }
    EXPECT_EQ(to_mbuf(*pool, frame_of(65'536, 0)), nullptr);
    EXPECT_EQ(pools_.in_use(), 0u);
}

TEST_F(MbufTest, an_empty_pool_gives_nothing_and_keeps_nothing) {
    auto* pool = pools_.pool_for(SOCKET_ID_ANY).value();
    std::vector<rte_mbuf*> taken;
    while (rte_mbuf* frame = rte_pktmbuf_alloc(pool)) taken.push_back(frame);
    EXPECT_EQ(taken.size(), frames_needed(small_demand()));
    rte_pktmbuf_free(taken.back());
    taken.pop_back();
    EXPECT_EQ(to_mbuf(*pool, frame_of(5'000, 1)), nullptr);  // needs three
    EXPECT_EQ(pools_.in_use(), taken.size());
    rte_pktmbuf_free_bulk(taken.data(), static_cast<unsigned>(taken.size()));
}

TEST_F(MbufTest, a_chain_is_written_into_a_capture_as_one_frame) {
    auto* pool = pools_.pool_for(SOCKET_ID_ANY).value();
    const std::string path = ::testing::TempDir() + "weir-chain-" + std::to_string(getpid()) + ".pcap";
    auto writer = CaptureWriter::create(path);
    ASSERT_TRUE(writer);
    for (const std::size_t length : {60u, 9'000u}) {
        rte_mbuf* frame = to_mbuf(*pool, frame_of(length, 3));
        writer->write(42, *frame);
        rte_pktmbuf_free(frame);
    }
    ASSERT_TRUE(writer->close());
    auto reader = CaptureReader::open(path);
    for (const std::size_t length : {60u, 9'000u}) {
        const auto frame = reader->next();
        ASSERT_TRUE(frame && *frame);
        EXPECT_EQ((*frame)->time_ns, 42u);
        EXPECT_EQ(std::vector((*frame)->bytes.begin(), (*frame)->bytes.end()), frame_of(length, 3));
    }
    std::remove(path.c_str());
}

TEST_F(MbufTest, pools_are_shared_by_ports_of_a_node_and_a_frame_room) {
    auto* pool = pools_.pool_for(SOCKET_ID_ANY).value();
    EXPECT_EQ(pools_.pool_for(0).value(), pool);
    EXPECT_NE(pools_.pool_for(0, 4096).value(), pool);
}

TEST_F(MbufTest, too_little_memory_is_said_with_how_much_would_do) {
    PoolDemand demand = small_demand();
    demand.ports = 16;
    demand.workers = 16;
    demand.rx_descriptors = 4096;
    MbufPools large(demand);
    const auto pool = large.pool_for(SOCKET_ID_ANY, 4096);
    ASSERT_FALSE(pool);
    EXPECT_TRUE(says(pool.error().message, {"no memory for", "raise dataplane.memory to at least"}));
}

}  // namespace
}  // namespace weir::test
