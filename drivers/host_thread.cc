#include "drivers/host_thread.h"

#include <poll.h>
#include <pthread.h>
#include <rte_debug.h>
#include <rte_launch.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "drivers/mbuf_bytes.h"

namespace weir {
namespace {

constexpr std::size_t kFramesATurn = 64;  // from each ring and each interface
constexpr unsigned kNaps = 4;             // a millisecond after the last frame it sleeps
constexpr timespec kNoRest{0, 0}, kNap{0, 250'000}, kSleep{0, 10'000'000};
constexpr std::size_t kMaxSegments = 64;

void count(std::atomic<std::uint64_t>& counter, std::uint64_t more = 1) noexcept {
    counter.fetch_add(more, std::memory_order_relaxed);
}

}  // namespace

Result<std::unique_ptr<HostThread>> HostThread::make(std::vector<HostPort> ports, unsigned workers) {
    std::vector<HostRings> rings;
    for (unsigned worker = 0; worker < workers; ++worker) {
        auto made = HostRings::make(worker);
        if (!made) return tl::make_unexpected(made.error());
        rings.push_back(std::move(*made));
    }
    const int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake < 0) return machine_error(std::string("host thread: eventfd: ") + std::strerror(errno));
    std::unique_ptr<HostThread> host(new HostThread(wake, std::move(ports), std::move(rings)));
    for (HostRings& each : host->rings_) each.set_wake(&host->wake_);
    return host;
}

HostThread::HostThread(int wake_descriptor, std::vector<HostPort> ports, std::vector<HostRings> rings)
    : wake_(wake_descriptor),
      ports_(std::move(ports)),
      rings_(std::move(rings)),
      counters_(ports_.size()),
      posted_(ports_.size()),
      sent_to_(rings_.size()),
      buffer_(kLongestFrame) {}

void HostThread::launch(unsigned lcore, std::function<void(unsigned)> wake_worker) {
    wake_worker_ = std::move(wake_worker);
    lcore_ = lcore;
    const auto body = [](void* self) {
        static_cast<HostThread*>(self)->run();
        return 0;
    };
    RTE_VERIFY(rte_eal_remote_launch(body, this, lcore) == 0);
}

void HostThread::stop() {
    if (!lcore_) return;
    stop_.store(true, std::memory_order_relaxed);
    wake_.wake();
    rte_eal_wait_lcore(*lcore_);
    lcore_.reset();
}

bool HostThread::post(unsigned port, std::span<const std::uint8_t> frame, OutgoingKind kind) {
    {
        const std::lock_guard lock(posted_mutex_);
        if (posted_[port].size() >= kMaxPosted) return false;
        posted_[port].push_back({kind, {frame.begin(), frame.end()}});
        posted_count_.fetch_add(1, std::memory_order_relaxed);
    }
    wake_.wake();
    return true;
}

HostPortStats HostThread::stats(unsigned port) const noexcept {
    const Counters& counters = counters_[port];
    const auto value = [](const auto& counter) { return counter.load(std::memory_order_relaxed); };
    return {.rx_packets = value(counters.rx_packets),
            .rx_bytes = value(counters.rx_bytes),
            .rx_no_interface = value(counters.rx_no_interface),
            .rx_interface_down = value(counters.rx_interface_down),
            .rx_refused = value(counters.rx_refused),
            .tx_no_mbuf = value(counters.tx_no_mbuf),
            .tx_too_long = value(counters.tx_too_long),
            .interface_gone = value(counters.interface_gone)};
}

void HostThread::run() {
    pthread_setname_np(pthread_self(), "weir-host");
    // The wake first, then the ports; poll() leaves those out that have a negative descriptor.
    std::vector<pollfd> waiting{{wake_.descriptor(), POLLIN, 0}};
    for (const HostPort& port : ports_)
        waiting.push_back({port.tap != nullptr ? port.tap->descriptor() : -1, POLLIN, 0});
    while (!stop_.load(std::memory_order_relaxed)) {
        bool busy = false;
        for (HostRings& rings : rings_) busy |= write_punted(rings);
        for (unsigned port = 0; port < ports_.size(); ++port) {
            busy |= send_posted(port);
            busy |= read_interface(waiting[port + 1], port);
        }
        wake_workers();
        rest(waiting, busy);
    }
    for (HostRings& rings : rings_)
        while (write_punted(rings)) {
        }
}

// A turn's share of one worker's ring to the kernel. True if there was any.
bool HostThread::write_punted(HostRings& rings) {
    std::array<rte_mbuf*, kFramesATurn> frames;
    const std::uint32_t taken = rings.take_punted(frames);
    for (std::uint32_t i = 0; i < taken; ++i) write_frame(*frames[i]);
    rte_pktmbuf_free_bulk(frames.data(), taken);
    return taken != 0;
}

void HostThread::write_frame(const rte_mbuf& frame) {
    Counters& counters = counters_[frame.port];
    const HostTap* tap = ports_[frame.port].tap;
    if (tap == nullptr || counters.interface_gone.load(std::memory_order_relaxed))
        return count(counters.rx_no_interface);
    std::array<iovec, kMaxSegments> parts;
    int used = 0;
    for (const rte_mbuf* segment = &frame; segment != nullptr; segment = segment->next) {
        if (static_cast<std::size_t>(used) == parts.size()) return count(counters.rx_refused);
        parts[static_cast<std::size_t>(used++)] = {rte_pktmbuf_mtod(segment, void*), segment->data_len};
    }
    if (writev(tap->descriptor(), parts.data(), used) >= 0) {
        count(counters.rx_packets);
        count(counters.rx_bytes, frame.pkt_len);
    } else if (errno == EIO) {
        count(counters.rx_interface_down);
    } else {
        count(errno == EBADFD ? counters.rx_no_interface : counters.rx_refused);
    }
}

// A turn's share of what the kernel sends by one port. True if there was any.
bool HostThread::read_interface(pollfd& ready, unsigned port) {
    if ((ready.revents & (POLLERR | POLLNVAL)) != 0) {  // deleted by somebody
        counters_[port].interface_gone.store(true, std::memory_order_relaxed);
        ready.fd = -1;
    }
    if (ready.fd < 0 || (ready.revents & POLLIN) == 0) return false;
    for (std::size_t frames = 0; frames < kFramesATurn; ++frames) {
        if (!rings_of_port(port).has_room()) return frames != 0;
        const ssize_t length = read(ready.fd, buffer_.data(), buffer_.size());
        if (length <= 0) return frames != 0;
        send(port, std::span(buffer_).first(static_cast<std::size_t>(length)), OutgoingKind::host);
    }
    return true;
}

// A turn's share of weir's own frames for a port, as far as its worker has room. True if there was any.
bool HostThread::send_posted(unsigned port) {
    if (posted_count_.load(std::memory_order_relaxed) == 0) return false;
    const std::lock_guard lock(posted_mutex_);
    std::size_t sent = 0;
    for (; sent < kFramesATurn && !posted_[port].empty() && rings_of_port(port).has_room(); ++sent) {
        send(port, posted_[port].front().frame, posted_[port].front().kind);
        posted_[port].pop_front();
    }
    posted_count_.fetch_sub(sent, std::memory_order_relaxed);
    return sent != 0;
}

// Precondition: the worker's ring has room.
void HostThread::send(unsigned port, std::span<const std::uint8_t> frame, OutgoingKind kind) {
    rte_mbuf* packet = to_mbuf(*ports_[port].pool, frame);
    if (packet == nullptr) return count(counters_[port].tx_no_mbuf);
    if (packet->nb_segs > 1 && !ports_[port].can_send_chains) {
        rte_pktmbuf_free(packet);
        return count(counters_[port].tx_too_long);
    }
    packet->port = static_cast<std::uint16_t>(port);
    packet->hash.usr = static_cast<std::uint32_t>(kind);
    RTE_VERIFY(rings_of_port(port).send(packet));
    sent_to_[port % rings_.size()] = true;
}

// Those that this turn has sent something.
void HostThread::wake_workers() {
    for (unsigned worker = 0; worker < rings_.size(); ++worker) {
        if (sent_to_[worker] && wake_worker_) wake_worker_(worker);
        sent_to_[worker] = false;
    }
}

// Until there may be something to do, at least one look at the interfaces.
void HostThread::rest(std::vector<pollfd>& waiting, bool busy) {
    bool blocked = posted_count_.load(std::memory_order_relaxed) != 0;
    for (unsigned port = 0; port < ports_.size(); ++port) {
        const bool room = rings_of_port(port).has_room();
        waiting[port + 1].events = room ? POLLIN : 0;
        blocked |= !room;
    }
    quiet_turns_ = busy ? 0 : quiet_turns_ + 1;
    const bool sleeps = !blocked && quiet_turns_ > kNaps;
    const timespec* pause = busy ? &kNoRest : sleeps ? &kSleep : &kNap;
    if (sleeps) {
        wake_.fall_asleep();
        for (const HostRings& rings : rings_)
            if (rings.has_punted()) pause = &kNoRest;
    }
    ppoll(waiting.data(), waiting.size(), pause, nullptr);
    if (sleeps || (waiting[0].revents & POLLIN) != 0) wake_.wake_up();
}

}  // namespace weir
