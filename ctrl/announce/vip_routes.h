// The routes by which BIRD or FRR learn of the VIPs: one VIP/32 (/128) in the kernel for each that is active.
// They vanish with the interface that they lead to, and so with weir.
//
// Theory of operation. tick() brings the kernel in steps to what is wanted, because 65,535 changes at once
// would hold up the control loop: withdrawals first, and after an error a pause. The kernel drops the routes
// of an interface that is set down, without a word: forget() has them all made anew.
//
// The control thread.
#pragma once

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "ctrl/notify.h"
#include "dataplane/net/address.h"
#include "drivers/result.h"

namespace weir {

struct VipRouteChanges {
    std::vector<IpAddress> remove, add;
};
// What leads from `present` to `wanted`, at most `limit` changes of which those that remove come first.
[[nodiscard]] VipRouteChanges diff_vip_routes(const std::set<IpAddress>& present,
                                              const std::set<IpAddress>& wanted, std::size_t limit);

class VipRoutes {
  public:
    using Time = std::chrono::steady_clock::time_point;
    // Adds the route to a VIP, or replaces it; or removes it.
    using Change = std::function<Result<void>(const IpAddress& vip)>;

    static constexpr std::size_t kChangesATick = 100;
    static constexpr std::chrono::seconds kPause{1};  // after an error

    VipRoutes(Change add, Change remove, Notify notify);

    // As in Announcer.
    void activate(const std::set<IpAddress>& vips);
    void withdraw_all_but(const std::set<IpAddress>& vips);
    // None of the routes is known to be in the kernel any more.
    void forget();
    void tick(Time now);

    // The kernel has them all.
    [[nodiscard]] bool settled() const { return settled_; }

  private:
    bool succeeded(const Result<void>& done, Time now);

    Change add_, remove_;
    Notify notify_;
    std::set<IpAddress> wanted_, present_;
    bool settled_ = true;  // wanted_ == present_
    Time pause_until_{};
    std::string last_error_;  // told already
};

}  // namespace weir
