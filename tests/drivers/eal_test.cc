// Starting DPDK: everything that goes wrong before it is said in a sentence, and lcores lie where they were
// put.
#include "drivers/eal.h"

#include <gtest/gtest.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <sched.h>

#include <atomic>

#include "drivers/worker_cpus.h"
#include "tests/drivers/eal_fixture.h"

namespace weir::test {
namespace {

TEST(WorkerCpusTest, the_control_cpu_is_taken_last) {
    const auto choice = choose_worker_cpus(3, 1, false, {0, 1, 2, 5});
    ASSERT_TRUE(choice) << choice.error().message;
    EXPECT_EQ(choice->cpus, (std::vector<unsigned>{0, 2, 5}));
    EXPECT_TRUE(choice->notes.empty());
    const auto all = choose_worker_cpus(4, 1, false, {0, 1, 2, 5});
    ASSERT_TRUE(all);
    EXPECT_EQ(all->cpus, (std::vector<unsigned>{0, 2, 5, 1}));
    EXPECT_TRUE(says(all->notes.at(0), {"CPU 1", "control core"}));
}

TEST(WorkerCpusTest, polling_workers_do_not_share_and_sleeping_ones_take_turns) {
    const auto refused = choose_worker_cpus(3, 0, false, {0, 1});
    ASSERT_FALSE(refused);
    EXPECT_TRUE(says(refused.error().message,
                     {"dataplane.workers = 3", "only 2 CPUs", "dataplane.workers to 2", "idle = \"sleep\""}));
    const auto shared = choose_worker_cpus(5, 0, true, {0, 1});
    ASSERT_TRUE(shared);
    EXPECT_EQ(shared->cpus, (std::vector<unsigned>{1, 0, 1, 0, 1}));
    EXPECT_TRUE(says(shared->notes.at(0), {"5 workers share 2 CPUs"}));
}

TEST(WorkerCpusTest, a_control_cpu_outside_the_affinity_mask_is_refused) {
    const auto refused = choose_worker_cpus(1, 7, false, {0, 1});
    ASSERT_FALSE(refused);
    EXPECT_TRUE(says(refused.error().message, {"control_cpu = 7", "CPUAffinity"}));
}

TEST(EalTest, a_cpu_that_is_not_there_is_named_before_dpdk_starts) {
    auto options = unprivileged_eal();
    options.worker_cpus = {1'000};
    const auto eal = Eal::start(options);
    ASSERT_FALSE(eal);
    EXPECT_TRUE(says(eal.error().message, {"CPU 1000", "dataplane.cpus"}));
}

TEST(EalTest, hugepages_that_are_not_there_are_counted_and_the_command_is_given) {
    auto options = unprivileged_eal();
    options.hugepages = true;
    options.file_prefix = "weir-eal-test";
    options.memory = 1ull << 50;
    const auto eal = Eal::start(options);
    ASSERT_FALSE(eal);
    EXPECT_EQ(eal.error().cause, Error::Cause::machine);
    EXPECT_TRUE(says(eal.error().message, {"dataplane.hugepages = false"}));
    const bool no_mount = says(eal.error().message, {"mount -t hugetlbfs"});
    const bool too_few = says(eal.error().message, {"MB are free", "/proc/sys/vm/nr_hugepages"});
    EXPECT_TRUE(no_mount || too_few) << eal.error().message;
}

// DPDK starts once, so one test walks through it: lcores, sharing, a second start.
TEST(EalTest, workers_run_where_they_were_put_even_two_on_one_cpu) {
    const auto cpus = usable_cpus();
    auto options = unprivileged_eal();
    options.worker_cpus = {cpus.back(), cpus.back(), cpus.front()};
    const auto eal = Eal::start(options);
    ASSERT_TRUE(eal) << eal.error().message;
    ASSERT_EQ(eal->workers(), 3u);
    EXPECT_EQ(eal->startup_log(), "");
    EXPECT_EQ(rte_lcore_count(), 4u);
    for (unsigned worker = 0; worker < eal->workers(); ++worker) {
        ASSERT_EQ(rte_eal_remote_launch([](void*) { return sched_getcpu(); }, nullptr, Eal::lcore(worker)),
                  0);
        EXPECT_EQ(rte_eal_wait_lcore(Eal::lcore(worker)), static_cast<int>(options.worker_cpus[worker]));
    }
    const auto again = Eal::start(options);
    ASSERT_FALSE(again);
    EXPECT_TRUE(says(again.error().message, {"started before in this process"}));
}

}  // namespace
}  // namespace weir::test
