#include "ctrl/announce/vip_routes.h"

#include <fmt/format.h>

namespace weir {

namespace {

// What is in `these` and not in `those`, the first `limit` of it.
std::vector<IpAddress> only_in(const std::set<IpAddress>& these, const std::set<IpAddress>& those,
                               std::size_t limit) {
    std::vector<IpAddress> found;
    auto other = those.begin();
    for (auto vip = these.begin(); vip != these.end() && found.size() < limit; ++vip) {
        while (other != those.end() && *other < *vip) ++other;
        if (other == those.end() || *other != *vip) found.push_back(*vip);
    }
    return found;
}

}  // namespace

VipRouteChanges diff_vip_routes(const std::set<IpAddress>& present, const std::set<IpAddress>& wanted,
                                std::size_t limit) {
    VipRouteChanges changes;
    changes.remove = only_in(present, wanted, limit);
    changes.add = only_in(wanted, present, limit - changes.remove.size());
    return changes;
}

VipRoutes::VipRoutes(Change add, Change remove, Notify notify)
    : add_(std::move(add)), remove_(std::move(remove)), notify_(std::move(notify)) {}

void VipRoutes::activate(const std::set<IpAddress>& vips) {
    wanted_.insert(vips.begin(), vips.end());
    settled_ = false;
}

void VipRoutes::withdraw_all_but(const std::set<IpAddress>& vips) {
    std::erase_if(wanted_, [&](const IpAddress& vip) { return !vips.contains(vip); });
    settled_ = false;
}

void VipRoutes::forget() {
    // What is no longer wanted may still be there: it stays known until it is removed.
    std::erase_if(present_, [this](const IpAddress& vip) { return wanted_.contains(vip); });
    settled_ = false;
}

bool VipRoutes::succeeded(const Result<void>& done, Time now) {
    if (done) return true;
    pause_until_ = now + kPause;
    if (done.error().message != last_error_) {
        last_error_ = done.error().message;
        if (notify_)
            notify_(Severity::warning,
                    fmt::format("routes of VIPs: {}; weir tries again until it can", last_error_));
    }
    return false;
}

void VipRoutes::tick(Time now) {
    if (settled_ || now < pause_until_) return;
    const VipRouteChanges changes = diff_vip_routes(present_, wanted_, kChangesATick);
    for (const IpAddress& vip : changes.remove) {
        if (!succeeded(remove_(vip), now)) return;
        present_.erase(vip);
    }
    for (const IpAddress& vip : changes.add) {
        if (!succeeded(add_(vip), now)) return;
        present_.insert(vip);
    }
    settled_ = changes.remove.size() + changes.add.size() < kChangesATick;
    if (settled_) last_error_.clear();
}

}  // namespace weir
