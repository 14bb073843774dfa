// The route of a change in the kernel: notification -> settle -> compile -> publish.
//
// Notifications come in bursts (a link that goes down takes addresses, routes and neighbours along), so the
// first one sets a timer of kSettle, and what has come by then is one change. A dump of large routing tables
// takes its time: the next settling waits nine times as long as the last one took, so that the control loop
// gives the kernel's churn at most a tenth of its time.
//
// The control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>

#include "ctrl/control_loop.h"
#include "ctrl/kernel/kernel_stats.h"
#include "ctrl/kernel/kernel_view.h"
#include "ctrl/world.h"

namespace weir {

class KernelFollower {
  public:
    static constexpr std::chrono::milliseconds kSettle{3};

    // All outlive this, and the loop runs only as long as this lives. World::kernel is view.ways().
    KernelFollower(KernelView& view, World& world, ControlLoop& loop);
    KernelFollower(const KernelFollower&) = delete;
    KernelFollower& operator=(const KernelFollower&) = delete;

    // After a configuration has been put in force.
    void configured();
    // Once a second.
    void each_second();

    [[nodiscard]] KernelStats stats() const;

  private:
    using Clock = std::chrono::steady_clock;
    void settle_soon(std::chrono::milliseconds delay);
    void settle();
    void tell_obstacles();

    KernelView& view_;
    World& world_;
    ControlLoop& loop_;
    bool is_settling_ = false;  // the timer is set
    Clock::time_point first_event_{};
    Clock::time_point not_before_{};
    std::uint64_t told_generation_ = 0;
    std::set<std::string> told_;  // sentences of obstacles
    DurationHistogram publish_durations_;
};

}  // namespace weir
