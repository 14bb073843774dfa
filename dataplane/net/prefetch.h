// Brings the cache line at an address near before it is needed. Any thread.
#pragma once

namespace weir {

// Always inlined, and so must be every function that does nothing else: gcc (12) takes __builtin_prefetch for
// an expression without effect, finds a function around it "pure", and deletes calls whose result nobody
// uses.
[[gnu::always_inline]] inline void prefetch(const void* address) noexcept { __builtin_prefetch(address); }

}  // namespace weir
