// What a worker does with loops that find nothing when idle = "sleep": it backs off (state/idle_backoff.h)
// and sleeps, until a frame (drivers/rx_wait.h), wake() or the time ends it. It sleeps offline in QSBR unless
// it watches devices: who takes one away must wait until it has let go of that. Publication wakes it.
//
// A sleep takes two calls of rest(): the first prepares it and returns, so that the worker's next loop looks
// once more at everything it serves, whatever that is; the second, if that loop found nothing either, sleeps.
//
// The worker's thread, except wake().
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/published.h"
#include "dataplane/state/idle_backoff.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/tables/forwarding_snapshot.h"
#include "drivers/rx_wait.h"

namespace weir {

class Idle {
  public:
    // `interrupting`: every receive queue of the worker, if each of them has an interrupt; else empty.
    Idle(std::span<const RxQueue> interrupting, WorkerCounters& counters);

    // Once, on the worker's thread.
    void begin() noexcept;
    // A loop that began at `tsc` found nothing. No pointer into the snapshot is used after it.
    void rest(const Published<ForwardingSnapshot>::Reader& reader, std::uint64_t tsc) noexcept;
    // The first loop that found something after rest(); it began at `tsc`.
    void resume(std::uint64_t tsc) noexcept;
    // A device is about to go, and come back as another: frames end no sleep until watch().
    void stop_watching() noexcept {
        if (!wait_.watches_queues()) return;
        has_let_go_ = true;
        wait_.stop_watching();
    }
    [[nodiscard]] bool has_let_go() const noexcept { return has_let_go_; }
    // All devices are there again: `interrupting` as at first. Tried once; a device that has no interrupts
    // any more leaves the worker with naps.
    void watch(std::span<const RxQueue> interrupting) noexcept {
        has_let_go_ = false;
        wait_.watch(interrupting);
    }
    // How many buckets of the flow table a loop that found nothing shall sweep: by time, so that short sleeps
    // do not sweep more and long ones not less.
    [[nodiscard]] std::uint32_t due_buckets(std::uint64_t tsc) noexcept {
        const std::uint64_t due = (tsc - swept_until_) / cycles_per_bucket_;
        swept_until_ += due * cycles_per_bucket_;
        return static_cast<std::uint32_t>(std::min<std::uint64_t>(due, kMostBuckets));
    }

    // Any thread.
    void wake() noexcept { wait_.wake(); }
    // What wake() wakes.
    [[nodiscard]] RxWait& sleeper() noexcept { return wait_; }

  private:
    static constexpr std::uint64_t kNsPerBucket = 15'625;  // 64 a millisecond
    static constexpr std::uint64_t kMostBuckets = IdleBackoff::kLongestWait / kNsPerBucket;

    [[nodiscard]] std::uint64_t ns(std::uint64_t cycles) const noexcept { return cycles * 1000 / tsc_mhz_; }
    void sleep(const Published<ForwardingSnapshot>::Reader& reader, std::uint64_t limit) noexcept;

    WorkerCounters& counters_;
    RxWait wait_;
    IdleBackoff backoff_;
    std::uint64_t tsc_mhz_;
    std::uint64_t cycles_per_bucket_;
    std::uint64_t swept_until_;  // TSC
    std::uint64_t since_ = 0;    // TSC of the first loop that found nothing; 0: the last one found something
    bool called_ = false;        // a frame ended the last sleep
    bool has_let_go_ = false;    // of devices that had interrupts
};

}  // namespace weir
