// A World that follows the kernel of a network namespace of its own, with two threads that latch snapshots as
// workers do. Root only; the namespace vanishes with the process, however it ends.
#pragma once

#include <sched.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include "ctrl/kernel/follow_kernel.h"
#include "tests/ctrl/config_builder.h"
#include "tests/ctrl/tap_neighborhood.h"

namespace weir::test {

inline void shell(const std::string& command) {
    ASSERT_EQ(std::system((command + " 2>&1").c_str()), 0) << command;
}

class FollowingWorld : public testing::Test {
  protected:
    using Clock = std::chrono::steady_clock;
    using milliseconds = std::chrono::milliseconds;

    static void SetUpTestSuite() {
        if (getuid() != 0) return;
        ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "no network namespace of our own";
        shell("ip link set lo up");
    }
    void SetUp() override {
        if (getuid() != 0) GTEST_SKIP() << "NOT TESTED: netlink's view of the kernel needs root; run as root";
        make_interface();
    }
    void TearDown() override {
        stop_ = true;
        for (std::thread& worker : threads_) worker.join();
    }

    // weir0 with 10.1.0.2/16 and fd00:1::2/64, as the port "edge" of tests/ctrl/config_builder.h.
    void make_interface() {
        tap_.emplace("weir0");
        std::ofstream("/proc/sys/net/ipv6/conf/weir0/accept_dad") << 0;
        std::ofstream("/proc/sys/net/ipv6/conf/weir0/router_solicitations") << 0;
        shell("ip addr add 10.1.0.2/16 dev weir0 && ip addr add fd00:1::2/64 dev weir0 nodad");
        shell("ip link set weir0 up");
    }
    static Config config(std::vector<BackendConfig> backends) {
        Config result = web_config();
        result.neighbors.clear();
        result.routes.clear();
        result.ports[0].host_interface = "weir0";
        result.pools[0].backends = std::move(backends);
        return result;
    }
    void start(const Config& config, int receive_buffer = KernelView::kReceiveBuffer) {
        auto view = KernelView::open({"weir0"}, {}, receive_buffer);
        ASSERT_TRUE(view) << view.error().message;
        view_ = std::move(*view);
        WorldOptions options;
        options.ports = edge_facts();
        options.kernel = &view_->ways();
        options.want_ways = [this](const std::vector<IpAddress>& wanted) { view_->want(wanted); };
        options.notify = [this](Severity, const std::string& sentence) { sentences_.push_back(sentence); };
        world_.emplace(std::move(options), workers_.all());
        apply(config);
        for (std::uint32_t id = 0; id < 2; ++id) threads_.emplace_back([this, id] { work(id); });
        follower_.emplace(*view_, *world_, loop_);
        loop_.every(milliseconds(1), [this] { check(); });
        loop_.every(milliseconds(1'000), [this] { follower_->each_second(); });
    }
    void apply(const Config& config) {
        const auto applied = world_->apply(config);
        ASSERT_TRUE(applied) << applied.error().message;
    }
    // Runs the control loop until `done` and every worker has the newest snapshot. The time it took.
    milliseconds run_until(std::function<bool()> done, milliseconds at_most = milliseconds(5'000)) {
        const auto begun = Clock::now();
        deadline_ = begun + at_most;
        done_ = std::move(done);
        loop_.run();
        EXPECT_TRUE(done_()) << "not within " << at_most.count() << " ms";
        return std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
    }
    [[nodiscard]] const BackendRecord& record(unsigned id = 0) const {
        return world_->snapshot()->backends[static_cast<std::size_t>(ForwardingMode::ipip)][BackendId{id}];
    }
    [[nodiscard]] bool has_mac(const MacAddress& mac, unsigned id = 0) const {
        return record(id).resolved &&
               std::equal(mac.bytes.begin(), mac.bytes.end(), record(id).header.begin());
    }

    std::optional<TapNeighborhood> tap_;
    std::unique_ptr<KernelView> view_;
    CountingWorkers workers_{2};
    std::optional<World> world_;
    ControlLoop loop_;
    std::optional<KernelFollower> follower_;
    std::vector<std::string> sentences_;

  private:
    void work(std::uint32_t id) {
        const Published<ForwardingSnapshot>::Reader reader(world_->published(), id);
        while (!stop_) {
            workers_[id].snapshot_generation.set(reader.latch()->generation);
            reader.quiescent();
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        reader.leave();
    }
    void check() {
        world_->tick();
        if ((done_() && world_->in_force()) || Clock::now() > deadline_) loop_.stop();
    }

    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
    std::function<bool()> done_;
    Clock::time_point deadline_;
};

}  // namespace weir::test
