// How a worker without packets passes its time: a pure function of how long it has been idle, and of the gaps
// between packets before.
//
// Theory of operation. First it spins, because a sleep and its end cost more than a short gap. How long
// follows the traffic, as in Linux's haltpoll governor (drivers/cpuidle/governors/haltpoll.c): a gap that a
// longer spin would have bridged doubles the spin, one that no spin bridges halves it. Then it sleeps. Where
// a frame ends the sleep (receive interrupts) there is one step, to kLongestWait. Otherwise a nap is a
// quarter of the time that it has been idle, to kLongestNap: a packet waits at most a quarter of the gap
// before it. Only who has been idle for half a second naps longer, step by step, to kLongestDoze after two
// seconds.
//
// Times in nanoseconds.
#pragma once

#include <algorithm>
#include <cstdint>

namespace weir {

class IdleBackoff {
  public:
    static constexpr std::uint64_t kShortestSpin = 4'000, kLongestSpin = 32'000;
    static constexpr std::uint64_t kShortestNap = 8'000, kLongestNap = 1'000'000;
    static constexpr std::uint64_t kLongestDoze = 4'000'000;
    // What a sleeper that is not woken does late: its sweep of the flow table.
    static constexpr std::uint64_t kLongestWait = 20'000'000;

    // How long to sleep now; 0: spin. `frames_wake`: a frame ends the sleep.
    [[nodiscard]] constexpr std::uint64_t sleep(std::uint64_t idle, bool frames_wake) const noexcept {
        if (idle < spin_) return 0;
        if (frames_wake) return kLongestWait;
        const std::uint64_t nap = std::clamp(idle / 4, kShortestNap, kLongestNap);
        return std::max(nap, std::min(idle / 512, kLongestDoze));
    }
    // A packet came, this long after the one before it.
    constexpr void ended(std::uint64_t gap) noexcept {
        if (gap > kLongestSpin)
            spin_ = std::max(spin_ / 2, kShortestSpin);
        else if (gap > spin_)
            spin_ = std::min(spin_ * 2, kLongestSpin);
    }
    [[nodiscard]] constexpr std::uint64_t spin() const noexcept { return spin_; }

  private:
    std::uint64_t spin_ = kShortestSpin;
};

}  // namespace weir
