#include "ctrl/health/probe_schedule.h"

#include <algorithm>
#include <cmath>

namespace weir {
namespace {

constexpr double kMemorySeconds = 10;

}  // namespace

ProbeSchedule::ProbeSchedule(std::size_t most_in_flight, Time now)
    : most_in_flight_(std::max<std::size_t>(most_in_flight, 1)), clock_(now) {}

ProbeSchedule::Span ProbeSchedule::on_grid(const Target& target, Span earliest) {
    const Span interval = target.cadence.interval;
    const auto steps = (earliest - target.phase + interval - Span{1}) / interval;
    return target.phase + std::max<Span::rep>(steps, 0) * interval;
}

void ProbeSchedule::advance(Time now) {
    const Span passed = std::max<Span>(now - clock_, Span{0});
    if (passed == Span{0}) return;
    clock_ = now;
    Span reached = time_ + passed;
    if (!waiting_.empty()) reached = std::clamp<Span>(waiting_.begin()->first + kHold, time_, reached);
    // An average over time, of which what is ten seconds old counts for a third.
    const double seconds = std::chrono::duration<double>(passed).count();
    const double lost = 1 - std::chrono::duration<double>(reached - time_).count() / seconds;
    const double kept = std::exp(-seconds / kMemorySeconds);
    lost_ = lost_ * kept + lost * (1 - kept);
    time_ = reached;
}

void ProbeSchedule::add(TargetId id, const Cadence& cadence, Time now) {
    advance(now);
    Target target{.cadence = cadence};
    target.cadence.interval = std::max(cadence.interval, std::chrono::milliseconds{1});
    const Span interval = target.cadence.interval;
    target.phase = Span(static_cast<Span::rep>(cadence.hash % static_cast<std::uint64_t>(interval.count())));
    target.begun = time_ - kLeastSpacing - interval;
    target.due = on_grid(target, time_);
    next_first_ = std::max(next_first_, time_);
    if (next_first_ <= target.due) {
        target.due = next_first_;
        next_first_ += kFirstSpacing;
    }
    waiting_.emplace(target.due, id);
    targets_.emplace(id, target);
}

void ProbeSchedule::remove(TargetId id) {
    const auto found = targets_.find(id);
    if (found == targets_.end()) return;
    if (found->second.deadline)
        deadlines_.erase({*found->second.deadline, id});
    else
        waiting_.erase({found->second.due, id});
    targets_.erase(found);
}

void ProbeSchedule::bring_forward(TargetId id, Time now) {
    const auto found = targets_.find(id);
    if (found == targets_.end()) return;
    advance(now);
    Target& target = found->second;
    if (target.deadline) {
        target.again = true;
        return;
    }
    const Span due = std::max<Span>(time_, target.begun + kLeastSpacing);
    if (due >= target.due) return;
    waiting_.erase({target.due, id});
    target.due = due;
    waiting_.emplace(due, id);
}

std::optional<ProbeSchedule::Begun> ProbeSchedule::begin_next(Time now) {
    advance(now);
    if (waiting_.empty() || waiting_.begin()->first > time_ || in_flight() >= most_in_flight_)
        return std::nullopt;
    auto node = waiting_.extract(waiting_.begin());
    const auto [due, id] = node.value();
    Target& target = targets_.at(id);
    target.begun = time_;
    // A probe out of turn (the first, one brought forward) replaces the grid's next one, if that is near.
    target.due = on_grid(target, time_ + Span(target.cadence.interval) / 2);
    target.deadline = now + target.cadence.timeout;
    deadlines_.emplace(*target.deadline, id);
    return Begun{id, time_ - due};
}

std::optional<TargetId> ProbeSchedule::expired(Time now) const {
    if (deadlines_.empty() || deadlines_.begin()->first > now) return std::nullopt;
    return deadlines_.begin()->second;
}

void ProbeSchedule::ended(TargetId id, Time now) {
    const auto found = targets_.find(id);
    if (found == targets_.end() || !found->second.deadline) return;
    advance(now);
    Target& target = found->second;
    deadlines_.erase({*target.deadline, id});
    target.deadline.reset();
    const Span soonest = std::max<Span>(time_, target.begun + kLeastSpacing);
    if (target.again) target.due = std::min(target.due, soonest);
    target.again = false;
    // Of a probe that lasted for longer than the interval: what was due meanwhile is one probe, not several.
    if (target.due + Span(target.cadence.interval) <= time_) target.due = on_grid(target, time_);
    waiting_.emplace(target.due, id);
}

std::optional<ProbeSchedule::Time> ProbeSchedule::wake_at(Time now) {
    advance(now);
    std::optional<Time> wake;
    if (!deadlines_.empty()) wake = deadlines_.begin()->first;
    if (!waiting_.empty() && in_flight() < most_in_flight_) {
        const Time due = now + std::max<Span>(waiting_.begin()->first - time_, Span{0});
        wake = wake ? std::min(*wake, due) : due;
    }
    return wake;
}

double ProbeSchedule::stretch(Time now) {
    advance(now);
    return 1 / std::max(1 - lost_, 0.001);
}

}  // namespace weir
