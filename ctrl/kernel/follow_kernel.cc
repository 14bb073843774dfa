#include "ctrl/kernel/follow_kernel.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctrl/kernel/gc_threshold.h"

namespace weir {

using std::chrono::milliseconds;

KernelFollower::KernelFollower(KernelView& view, World& world, ControlLoop& loop)
    : view_(view), world_(world), loop_(loop) {
    loop_.on_readable(view_.fd(), [this] {
        const auto now = Clock::now();
        view_.receive();
        if (!view_.is_stale() || is_settling_) return;
        first_event_ = now;
        const auto wait = std::chrono::ceil<milliseconds>(not_before_ - now);
        settle_soon(std::max(kSettle, wait));
    });
    configured();
}

void KernelFollower::settle_soon(milliseconds delay) {
    is_settling_ = true;
    loop_.after(delay, [this] { settle(); });
}

void KernelFollower::settle() {
    const auto begun = Clock::now();
    is_settling_ = false;
    const WaysChange change = view_.settle();
    if (!change.none()) {
        world_.apply_ways(change);
        publish_durations_.record(Clock::now() - first_event_);
    }
    const auto ended = Clock::now();
    not_before_ = ended + 9 * (ended - begun);
}

void KernelFollower::configured() {
    // Backends that are gone keep their place until it is worth the work: a change costs what changed.
    constexpr std::size_t kLeftovers = 1'024;
    const auto destinations = world_.destinations();
    if (view_.destinations() > 2 * destinations.size() + kLeftovers) view_.want_only(destinations);
    for (const std::string& warning : check_gc_thresholds(view_.ways()))
        world_.notify(Severity::warning, warning);
    if (is_settling_ || !view_.is_stale()) return;
    first_event_ = Clock::now();
    settle_soon(kSettle);
}

void KernelFollower::each_second() {
    view_.refresh();
    if (view_.is_stale() && !is_settling_) {
        first_event_ = Clock::now();
        settle_soon(kSettle);
    }
    tell_obstacles();
}

// What keeps packets from backends: each sentence when it becomes true, no more than a few at once.
void KernelFollower::tell_obstacles() {
    if (told_generation_ == world_.generation()) return;
    told_generation_ = world_.generation();
    constexpr std::size_t kAtOnce = 8;
    const NextHopRemarks remarks = remark_next_hops(world_.compiled(), *world_.config());
    std::set<std::string> now(remarks.unresolved.begin(), remarks.unresolved.end());
    std::size_t fresh = 0;
    for (const std::string& sentence : now)
        if (!told_.contains(sentence) && ++fresh <= kAtOnce) world_.notify(Severity::warning, sentence);
    if (fresh > kAtOnce)
        world_.notify(Severity::warning,
                      fmt::format("... and {} more backends that packets do not reach", fresh - kAtOnce));
    if (now.empty() && !told_.empty())
        world_.notify(Severity::info, "every backend has a resolved next hop again");
    told_ = std::move(now);
}

KernelStats KernelFollower::stats() const {
    return {.hops = view_.ways().count_hops(),
            .resyncs = view_.resyncs(),
            .changes = view_.changes(),
            .publish_durations = publish_durations_};
}

}  // namespace weir
