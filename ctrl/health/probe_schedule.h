// When which target is probed: times and nothing else. The caller says what time it is.
//
// Theory of operation. Each target has a grid of times, `phase + k * interval`, whose phase is the target's
// own: targets spread over the interval, and lateness does not add up. Grids lie in the schedule's own time.
// That runs with the clock, but never more than kHold ahead of the earliest beginning that is still owed:
// when more is due than can be begun, the schedule's time slows down, and with it all intervals by the same
// factor. After a pause of the whole process it goes on where it was, and nothing bursts. Timeouts are in the
// clock's time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

namespace weir {

enum class TargetId : std::uint64_t {};

class ProbeSchedule {
  public:
    using Time = std::chrono::steady_clock::time_point;
    using Span = std::chrono::nanoseconds;

    static constexpr std::chrono::milliseconds kHold{250};
    // Between two first probes, so that a thousand new targets do not start in one moment: 400 in 100 ms.
    static constexpr std::chrono::microseconds kFirstSpacing{250};
    // Between the beginnings of two probes of a target, however often one is asked for.
    static constexpr std::chrono::milliseconds kLeastSpacing{100};

    struct Cadence {
        std::uint64_t hash = 0;  // gives the phase
        std::chrono::milliseconds interval{1}, timeout{1};
    };
    struct Begun {
        TargetId id{};
        Span lateness{0};
    };

    ProbeSchedule(std::size_t most_in_flight, Time now);

    // Its first probe is due at once, or as soon as earlier first ones let it, at the latest within an
    // interval.
    void add(TargetId id, const Cadence& cadence, Time now);
    void remove(TargetId id);
    // The next probe is due now, as far as kLeastSpacing allows; if one is in flight, after that.
    void bring_forward(TargetId id, Time now);

    // The target that has been due for longest, which is in flight from now on.
    std::optional<Begun> begin_next(Time now);
    // A target whose probe has run into its timeout; stays in flight until ended().
    [[nodiscard]] std::optional<TargetId> expired(Time now) const;
    // Precondition: in flight.
    void ended(TargetId id, Time now);

    // When something is due or expires next.
    [[nodiscard]] std::optional<Time> wake_at(Time now);
    // Of the last ten seconds or so.
    [[nodiscard]] double stretch(Time now);
    [[nodiscard]] std::size_t in_flight() const { return deadlines_.size(); }
    [[nodiscard]] std::size_t most_in_flight() const { return most_in_flight_; }

  private:
    struct Target {
        Cadence cadence;
        Span phase{0};
        Span due{0};                   // schedule's time: of the next probe; in flight: of the one after
        Span begun{0};                 // schedule's time: of the last probe, less than any if there was none
        std::optional<Time> deadline;  // in flight
        bool again = false;            // in flight: another one is wanted at once
    };
    static Span on_grid(const Target& target, Span earliest);
    void advance(Time now);

    std::size_t most_in_flight_;
    std::unordered_map<TargetId, Target> targets_;
    std::set<std::pair<Span, TargetId>> waiting_;    // by due
    std::set<std::pair<Time, TargetId>> deadlines_;  // of those in flight
    Time clock_;                                     // at the last advance
    Span time_{0};                                   // the schedule's own
    Span next_first_{0};                             // when the next first probe may begin
    double lost_ = 0;  // share of the clock's time that the schedule's did not follow
};

}  // namespace weir
