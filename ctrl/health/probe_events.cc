#include "ctrl/health/probe_events.h"

#include <unistd.h>

#include <array>

namespace weir {
namespace {

constexpr std::size_t kBatch = 256;
// Answers that come faster than they are read must not keep deadlines and the loop's other work waiting.
constexpr int kMostBatches = 8;

}  // namespace

ProbeEvents::ProbeEvents(ProbePorts* ports) : ports_(ports), epoll_(epoll_create1(EPOLL_CLOEXEC)) {}

ProbeEvents::~ProbeEvents() {
    if (epoll_ >= 0) close(epoll_);
}

bool ProbeEvents::watch(int fd, std::uint32_t events, Watcher& watcher) {
    const auto place = static_cast<std::size_t>(fd);
    if (place >= watchers_.size()) watchers_.resize(place + 1);
    epoll_event event{.events = events, .data = {.fd = fd}};
    const int change = watchers_[place] == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(epoll_, change, fd, &event) != 0) return false;
    watchers_[place] = &watcher;
    return true;
}

void ProbeEvents::forget(int fd) {
    const auto place = static_cast<std::size_t>(fd);
    if (place >= watchers_.size() || watchers_[place] == nullptr) return;
    watchers_[place] = nullptr;
    epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

void ProbeEvents::forget_closing(int fd) {
    const auto place = static_cast<std::size_t>(fd);
    if (place < watchers_.size()) watchers_[place] = nullptr;
}

void ProbeEvents::serve() {
    std::array<epoll_event, kBatch> ready;
    for (int batch = 0; batch < kMostBatches; ++batch) {
        const int count = epoll_wait(epoll_, ready.data(), kBatch, 0);
        for (int i = 0; i < count; ++i) {
            const int fd = ready[static_cast<std::size_t>(i)].data.fd;
            if (Watcher* watcher = watchers_[static_cast<std::size_t>(fd)])
                watcher->on_ready(fd, ready[static_cast<std::size_t>(i)].events);
        }
        if (count < static_cast<int>(kBatch)) return;
    }
}

}  // namespace weir
