// The thread between the workers and the kernel: neither a worker nor the control loop, so that neither waits
// for a system call on a packet's behalf.
//
// Theory of operation. Each worker has a pair of rings (host_rings.h). The thread writes what workers have
// punted to the host interface of the frame's port, and reads what the kernel sends on each host interface
// into mbufs for worker (port index mod workers), always the same one, so that order is kept. Frames of
// weir's own (post()) take the same way. One turn takes a bounded number of frames from each source, so that
// none starves another. Where a worker's ring is full, its interfaces are not read: the kernel's queue fills,
// and the kernel's senders feel it.
//
// Without anything to do it naps a few times, which spares workers a system call for each frame of a
// conversation, and then sleeps until a frame or a wake comes (host_wake.h). It runs on an lcore of EAL's,
// because only those have a cache of mbufs: without one each frame would cost an operation on the pool's
// shared ring, and a thread that is preempted in the middle of such a one stalls every worker.
//
// Order of life: make(), the workers, which need the rings, launch(); the workers' end, stop().
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "drivers/host_rings.h"
#include "drivers/host_tap.h"
#include "drivers/host_wake.h"
#include "drivers/result.h"

struct pollfd;

namespace weir {

// What the host thread must know of a port.
struct HostPort {
    rte_mempool* pool = nullptr;   // for what goes out by it
    bool can_send_chains = false;  // else a frame that needs more than one mbuf is dropped
    const HostTap* tap = nullptr;  // null: it has none
};

// Since the start. "rx": from the wire to the kernel; "tx": from the kernel to the wire.
struct HostPortStats {
    std::uint64_t rx_packets = 0, rx_bytes = 0;
    std::uint64_t rx_no_interface = 0;    // the port has none, or it was deleted
    std::uint64_t rx_interface_down = 0;  // somebody has set it down
    std::uint64_t rx_refused = 0;         // the kernel would not have the frame
    std::uint64_t tx_no_mbuf = 0;         // the pool was empty
    std::uint64_t tx_too_long = 0;        // more than one mbuf, and the device cannot send that
    bool interface_gone = false;          // it was deleted: nothing comes back before a restart
};

class HostThread {
  public:
    // Frames posted for a port that its worker has not been given yet.
    static constexpr std::size_t kMaxPosted = 8'192;

    // `ports` by index; their pools and taps outlive this. Error: no memory for a ring, no file descriptor.
    [[nodiscard]] static Result<std::unique_ptr<HostThread>> make(std::vector<HostPort> ports,
                                                                  unsigned workers);
    // Runs on an lcore that is waiting (Eal::host_lcore()). `wake_worker` is called on the thread when it has
    // sent a worker frames; may be empty. Until then rings fill. Once.
    void launch(unsigned lcore, std::function<void(unsigned worker)> wake_worker);
    // What was punted is written first. Every worker has stopped.
    void stop();
    ~HostThread() { stop(); }
    HostThread(const HostThread&) = delete;
    HostThread& operator=(const HostThread&) = delete;

    // For the worker.
    [[nodiscard]] HostRings& rings(unsigned worker) noexcept { return rings_[worker]; }

    // A whole Ethernet frame to send by a port, after what was posted before. False: kMaxPosted are waiting,
    // and this one is not taken. Any thread.
    [[nodiscard]] bool post(unsigned port, std::span<const std::uint8_t> frame, OutgoingKind kind);

    // Any thread.
    [[nodiscard]] HostPortStats stats(unsigned port) const noexcept;

  private:
    struct Posted {
        OutgoingKind kind;
        std::vector<std::uint8_t> frame;
    };
    // Written by the host thread alone.
    struct Counters {
        std::atomic<std::uint64_t> rx_packets{0}, rx_bytes{0}, rx_no_interface{0}, rx_interface_down{0},
            rx_refused{0}, tx_no_mbuf{0}, tx_too_long{0};
        std::atomic<bool> interface_gone{false};
    };

    HostThread(int wake_descriptor, std::vector<HostPort> ports, std::vector<HostRings> rings);
    void run();
    bool write_punted(HostRings& rings);
    void write_frame(const rte_mbuf& frame);
    bool read_interface(pollfd& ready, unsigned port);
    bool send_posted(unsigned port);
    void send(unsigned port, std::span<const std::uint8_t> frame, OutgoingKind kind);
    void wake_workers();
    void rest(std::vector<pollfd>& waiting, bool busy);
    [[nodiscard]] HostRings& rings_of_port(unsigned port) noexcept { return rings_[port % rings_.size()]; }

    HostWake wake_;
    std::vector<HostPort> ports_;
    std::vector<HostRings> rings_;  // by worker
    std::vector<Counters> counters_;
    std::optional<unsigned> lcore_;  // absent: it does not run
    std::atomic<bool> stop_{false};

    std::mutex posted_mutex_;
    std::vector<std::deque<Posted>> posted_;    // by port
    std::atomic<std::size_t> posted_count_{0};  // of all ports: spares the host thread the lock

    // The host thread's own.
    std::function<void(unsigned worker)> wake_worker_;
    std::vector<bool> sent_to_;  // by worker: in this turn
    std::vector<std::uint8_t> buffer_;
    unsigned quiet_turns_ = 0;
};

}  // namespace weir
