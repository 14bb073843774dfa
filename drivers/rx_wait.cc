#include "drivers/rx_wait.h"

#include <poll.h>
#include <rte_atomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace weir {
namespace {

using std::chrono::ceil;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr int kEventsAtOnce = 16;

bool is_frame(const rte_epoll_event& event) { return event.epdata.data == nullptr; }

}  // namespace

RxWait::RxWait(std::span<const RxQueue> queues) : wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (queues.empty()) return;
    epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    wake_event_.epdata.event = EPOLLIN;
    wake_event_.epdata.data = this;
    if (epoll_fd_ < 0 || wake_fd_ < 0 || rte_epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &wake_event_) != 0)
        return;
    queues_.reserve(queues.size());
    watch(queues);
}

// Never allocates: there was room for all from the start.
void RxWait::watch(std::span<const RxQueue> queues) noexcept {
    if (queues.size() > queues_.capacity()) return;
    cancel();  // a sleep that was prepared has armed none of these
    for (const RxQueue& queue : queues) {
        queues_.push_back({queue, -1, {}});
        if (watch_one(queues_.back())) continue;
        queues_.pop_back();
        unwatch_all();
        return;
    }
}

bool RxWait::watch_one(Watched& watched) const noexcept {
    const auto [ethdev, queue] = watched.queue;
    const int code = rte_eth_dev_rx_intr_enable(ethdev, queue);
    if (code == 0) {
        (void)rte_eth_dev_rx_intr_disable(ethdev, queue);
        return rte_eth_dev_rx_intr_ctl_q(ethdev, queue, epoll_fd_, RTE_INTR_EVENT_ADD, nullptr) == 0;
    }
    if (code != -ENOTSUP) return false;
    watched.level_fd = rte_eth_dev_rx_intr_ctl_q_get_fd(ethdev, queue);
    watched.event.epdata.event = EPOLLIN;
    return watched.level_fd >= 0 &&
           rte_epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, watched.level_fd, &watched.event) == 0;
}

// Before the descriptor is closed: DPDK notes at the device who waits for it.
void RxWait::unwatch_all() noexcept {
    for (Watched& watched : queues_) {
        if (watched.level_fd >= 0)
            (void)rte_epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, watched.level_fd, &watched.event);
        else
            (void)rte_eth_dev_rx_intr_ctl_q(watched.queue.ethdev, watched.queue.queue, epoll_fd_,
                                            RTE_INTR_EVENT_DEL, nullptr);
    }
    queues_.clear();
}

void RxWait::stop_watching() noexcept {
    cancel();
    unwatch_all();
}

RxWait::~RxWait() {
    stop_watching();
    if (epoll_fd_ >= 0) close(epoll_fd_);
    if (wake_fd_ >= 0) close(wake_fd_);
}

void RxWait::prepare() noexcept {
    prepared_ = true;
    sleeps_.store(true, std::memory_order_relaxed);
    for (const Watched& watched : queues_) {
        if (watched.level_fd >= 0 ||
            rte_eth_dev_rx_intr_enable(watched.queue.ethdev, watched.queue.queue) == 0)
            continue;
        unwatch_all();
        break;
    }
    // Against the one in wake(): the last look comes after the announcement.
    rte_atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void RxWait::cancel() noexcept {
    if (!prepared_) return;
    prepared_ = false;
    sleeps_.store(false, std::memory_order_relaxed);
    for (const Watched& watched : queues_)
        if (watched.level_fd < 0)
            (void)rte_eth_dev_rx_intr_disable(watched.queue.ethdev, watched.queue.queue);
}

RxWait::Ended RxWait::sleep(nanoseconds limit) noexcept {
    const bool by_time = queues_.empty() || limit < milliseconds(1);
    const Ended ended = by_time ? sleep_for_time(limit) : sleep_for_frames(limit);
    cancel();
    std::uint64_t calls = 0;
    if (ended == Ended::by_wake) (void)!read(wake_fd_, &calls, sizeof(calls));
    return ended;
}

RxWait::Ended RxWait::sleep_for_frames(nanoseconds limit) noexcept {
    std::array<rte_epoll_event, kEventsAtOnce> events;
    const auto patience = static_cast<int>(ceil<milliseconds>(limit).count());
    const int count = rte_epoll_wait(epoll_fd_, events.data(), kEventsAtOnce, patience);
    bool woken = false;
    for (int i = 0; i < count; ++i) woken = woken || !is_frame(events[static_cast<std::size_t>(i)]);
    if (woken) return Ended::by_wake;
    return count > 0 ? Ended::by_frame : Ended::by_time;
}

RxWait::Ended RxWait::sleep_for_time(nanoseconds limit) noexcept {
    const auto whole = std::chrono::duration_cast<seconds>(limit);
    const timespec patience{.tv_sec = whole.count(), .tv_nsec = (limit - whole).count()};
    pollfd wait{.fd = wake_fd_, .events = POLLIN, .revents = 0};
    return ppoll(&wait, 1, &patience, nullptr) > 0 ? Ended::by_wake : Ended::by_time;
}

void RxWait::wake() noexcept {
    // What the sleeper is woken for is visible before this looks whether it sleeps.
    rte_atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!sleeps_.load(std::memory_order_relaxed)) return;
    const std::uint64_t one = 1;
    (void)!write(wake_fd_, &one, sizeof(one));
}

}  // namespace weir
