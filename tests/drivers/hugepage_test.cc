// The production way: hugepages and shared files, so that dpdk-dumpcap can attach. Needs free hugepages.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "drivers/huge_memory.h"
#include "drivers/hugepages.h"
#include "tests/drivers/eal_fixture.h"

namespace weir::test {
namespace {

const std::string kPrefix = "weir-hugepage-test-" + std::to_string(getpid());

EalOptions hugepage_options() {
    auto options = unprivileged_eal();
    options.hugepages = true;
    options.memory = 64u << 20;
    options.file_prefix = kPrefix;
    return options;
}

class HugepageTest : public ::testing::Test {
  protected:
    void SetUp() override {
        const Hugepages pages = look_at_hugepages(kPrefix);
        if (!pages.mounted || pages.free_bytes < (96u << 20) || getuid() != 0)
            GTEST_SKIP()
                << "NOT TESTED: needs root, a mounted hugetlbfs and 96 MB of free hugepages: mount -t "
                   "hugetlbfs nodev /dev/hugepages; echo 128 > /proc/sys/vm/nr_hugepages";
    }
};

TEST_F(HugepageTest, tables_get_reserved_pages) {
    const auto memory = HugeMemory::allocate(4u << 20, true);
    ASSERT_TRUE(memory) << memory.error().message;
    EXPECT_EQ(memory->kind(), HugeMemory::Kind::hugepages);
    memory->bytes().back() = std::byte{1};
}

// A first instance in a child process, killed without warning; then ours: it sees the live one, and takes
// over what the dead one left.
TEST_F(HugepageTest, a_second_instance_is_refused_and_a_dead_ones_memory_is_taken_over) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        const auto eal = Eal::start(hugepage_options());
        const char outcome = eal ? 'y' : 'n';
        if (write(ready[1], &outcome, 1) == 1) pause();
        _exit(0);
    }
    char outcome = 0;
    ASSERT_EQ(read(ready[0], &outcome, 1), 1);
    EXPECT_EQ(outcome, 'y');
    const auto refused = Eal::start(hugepage_options());
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(says(refused.error().message, {"already running", kPrefix.c_str()}));

    EXPECT_GE(look_at_hugepages(kPrefix).stale_bytes, 64u << 20);
    {
        const auto eal = Eal::start(hugepage_options());
        ASSERT_TRUE(eal) << eal.error().message;
        EXPECT_EQ(eal->startup_log(), "");
        PoolDemand demand;
        demand.rx_descriptors = demand.tx_descriptors = 256;
        MbufPools pools(demand);
        PortSpec wanted;
        wanted.name = "edge";
        wanted.device = "net_null0";
        const auto port = Port::open(wanted, pools);
        ASSERT_TRUE(port) << port.error().message;
        EXPECT_TRUE(rte_eal_has_hugepages());
    }
    EXPECT_EQ(look_at_hugepages(kPrefix).stale_bytes, 0u) << "a clean end leaves no memory behind";
    EXPECT_FALSE(std::filesystem::exists("/var/run/dpdk/" + kPrefix)) << "nor files";
}

}  // namespace
}  // namespace weir::test
