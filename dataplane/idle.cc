#include "dataplane/idle.h"

#include <rte_cycles.h>
#include <rte_pause.h>
#include <sys/prctl.h>

namespace weir {

Idle::Idle(std::span<const RxQueue> interrupting, WorkerCounters& counters)
    : counters_(counters),
      wait_(interrupting),
      tsc_mhz_(std::max<std::uint64_t>(rte_get_tsc_hz() / 1'000'000, 1)),
      cycles_per_bucket_(kNsPerBucket * tsc_mhz_ / 1000),
      swept_until_(rte_rdtsc()) {}

// By default Linux lets a timer be 50 us late, to save wake-ups: six times the shortest nap.
void Idle::begin() noexcept { (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }

void Idle::rest(const Published<ForwardingSnapshot>::Reader& reader, std::uint64_t tsc) noexcept {
    if (since_ == 0) since_ = tsc;
    const std::uint64_t limit = backoff_.sleep(ns(tsc - since_), wait_.watches_queues());
    if (limit == 0)
        rte_pause();
    else if (!wait_.is_prepared())
        wait_.prepare();
    else
        sleep(reader, limit);
}

void Idle::sleep(const Published<ForwardingSnapshot>::Reader& reader, std::uint64_t limit) noexcept {
    const bool holds_devices = wait_.watches_queues();
    if (!holds_devices) reader.offline();
    const std::uint64_t begun = rte_rdtsc();
    // Called by a frame that the loops since have not found: net_tap's queue knows of it only when a signal
    // to the process has told it, and the thread that takes the signal may need this CPU.
    const std::uint64_t patience = called_ ? IdleBackoff::kShortestNap : limit;
    called_ = wait_.sleep(std::chrono::nanoseconds(patience)) == RxWait::Ended::by_frame;
    const std::uint64_t now = rte_rdtsc();
    if (!holds_devices) reader.online();
    counters_.sleeps.add(1);
    counters_.asleep_tsc.add(now - begun);
}

void Idle::resume(std::uint64_t tsc) noexcept {
    wait_.cancel();
    called_ = false;
    backoff_.ended(ns(tsc - since_));
    since_ = 0;
}

}  // namespace weir
