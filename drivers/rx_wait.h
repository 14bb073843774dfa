// Sleep that a frame, another thread or a time limit ends: what a worker without traffic does.
//
// Theory of operation. A sleeper first says so with prepare(), then looks once more at all that it serves
// (its receive queues, a stop flag, rings), and sleeps only if it found nothing. Whoever gives it something
// to do does that first and calls wake() afterwards: either the sleeper's last look sees it, or wake() sees
// that the sleeper has prepared and ends its sleep. A wake() while nobody sleeps is a fence and a load.
//
// Receive interrupts follow the same order: prepare() arms them, so that a frame that comes before the last
// look is found by it and one that comes later raises the interrupt. DPDK hands interrupts out as file
// descriptors; what must be read from them depends on the driver, so rte_epoll_wait() does it. A driver that
// has nothing to arm (net_tap) has a descriptor that is readable while frames wait. That one is watched by
// its level: DPDK would take its edge, which comes before net_tap's queue says that it has frames (a signal
// tells it, later). Without interrupts the sleep is a ppoll() on the wake-up alone, to the nanosecond.
//
// The worker's thread, unless said otherwise.
#pragma once

#include <rte_interrupts.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "drivers/rx_queue.h"

namespace weir {

class RxWait {
  public:
    enum class Ended : std::uint8_t { by_time, by_wake, by_frame };

    // Watches the interrupts of `queues`; empty: none. If one cannot be watched, none is: see
    // watches_queues(). Any thread, which hands the object over. Does not fail: without a descriptor for
    // wake() sleeps last until their limit.
    explicit RxWait(std::span<const RxQueue> queues);
    RxWait(const RxWait&) = delete;
    RxWait& operator=(const RxWait&) = delete;
    // Nobody sleeps and nobody calls wake() any more; the devices still exist.
    ~RxWait();

    // Frames end a sleep. Turns false when a device refuses to arm.
    [[nodiscard]] bool watches_queues() const noexcept { return !queues_.empty(); }

    // Lets go of the devices. They still exist.
    void stop_watching() noexcept;
    // Watches these, as the constructor does: after stop_watching(), and no more of them than at first.
    void watch(std::span<const RxQueue> queues) noexcept;

    // From here on wake() and frames end the next sleep(). Look at everything once more, then sleep() or
    // cancel().
    void prepare() noexcept;
    [[nodiscard]] bool is_prepared() const noexcept { return prepared_; }
    // Something was found after prepare().
    void cancel() noexcept;
    // Precondition: prepared. Frames end it only if the limit is a millisecond or more; it is rounded up to
    // one.
    Ended sleep(std::chrono::nanoseconds limit) noexcept;

    // Any thread, also a signal handler: ends a sleep that has been prepared.
    void wake() noexcept;

  private:
    Ended sleep_for_frames(std::chrono::nanoseconds limit) noexcept;
    Ended sleep_for_time(std::chrono::nanoseconds limit) noexcept;
    struct Watched {
        RxQueue queue;
        int level_fd;           // -1: it is armed, and DPDK watches
        rte_epoll_event event;  // of level_fd; DPDK keeps a pointer to it
    };
    [[nodiscard]] bool watch_one(Watched& watched) const noexcept;
    void unwatch_all() noexcept;

    std::vector<Watched> queues_;  // empty: none. Its elements do not move while they are watched
    int wake_fd_ = -1;
    int epoll_fd_ = -1;
    bool prepared_ = false;
    rte_epoll_event wake_event_{};                 // DPDK keeps a pointer to it
    alignas(64) std::atomic<bool> sleeps_{false};  // prepared, as wake() sees it
};

}  // namespace weir
