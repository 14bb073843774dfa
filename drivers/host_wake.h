// How the host thread is woken when it sleeps and a worker, or any other thread, has something for it.
//
// Theory of operation. The host thread says that it is going to sleep, looks at its rings once more and waits
// for an eventfd. A worker that has put a frame into its ring reads the flag, which costs it nothing, and
// makes the one system call of the packet path, a write to the eventfd, only if the flag is set. Between the
// worker's store to the ring and its load of the flag there is no fence: a processor may do the load first,
// and then the frame waits for the end of the host thread's sleep, which is therefore bounded.
#pragma once

#include <atomic>

namespace weir {

class HostWake {
  public:
    // Takes over an eventfd (EFD_NONBLOCK).
    explicit HostWake(int descriptor) noexcept : descriptor_(descriptor) {}
    ~HostWake();
    HostWake(const HostWake&) = delete;
    HostWake& operator=(const HostWake&) = delete;

    // --- whoever has something for it: any thread

    [[nodiscard]] bool asleep() const noexcept { return asleep_.load(std::memory_order_relaxed); }
    // The system call. Who comes next sees that there is no need of another.
    void wake() noexcept;

    // --- the host thread

    // To wait for with poll(2): readable after a wake().
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    void fall_asleep() noexcept { asleep_.store(true, std::memory_order_seq_cst); }
    // Also takes back the wakes so far.
    void wake_up() noexcept;

  private:
    int descriptor_;
    std::atomic<bool> asleep_{false};
};

}  // namespace weir
