// A counter with one writer (the worker that owns it) and any number of readers that tolerate staleness.
//
// Relaxed atomic load and store, never a read-modify-write: on x86 and Arm that is a plain add to memory, and
// yet no data race.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir {

class Counter {
  public:
    // The owning worker only.
    void add(std::uint64_t n) noexcept {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
        // What the two lines below mean, in one instruction, which gcc does not make of them.
        asm("addq %1, %0" : "+m"(value_) : "er"(n) : "cc");
#else
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
#endif
    }
    void subtract(std::uint64_t n) noexcept { add(0 - n); }
    void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
    // Any thread.
    [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
};
static_assert(sizeof(Counter) == 8 && std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace weir
