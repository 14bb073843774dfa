#include "drivers/host_wake.h"

#include <unistd.h>

#include <cstdint>

namespace weir {

HostWake::~HostWake() { close(descriptor_); }

// Fails only when the counter is full: then the host thread is as good as woken.
void HostWake::wake() noexcept {
    asleep_.store(false, std::memory_order_relaxed);
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(descriptor_, &one, sizeof(one));
}

void HostWake::wake_up() noexcept {
    asleep_.store(false, std::memory_order_relaxed);
    std::uint64_t wakes = 0;
    [[maybe_unused]] const ssize_t taken = read(descriptor_, &wakes, sizeof(wakes));
}

}  // namespace weir
