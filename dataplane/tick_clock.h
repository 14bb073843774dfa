// What time it is for flows and ramps in a running weir: the TSC, which all cores share, in ticks. Workers
// read it once a loop; the control core, when it writes a tick into a snapshot.
#pragma once

#include <rte_cycles.h>

#include <cstdint>

#include "dataplane/state/flow_clock.h"

namespace weir {

// One division a reading. The TSC's rate is fixed when EAL has started: make none before.
class TickClock {
  public:
    TickClock() noexcept : cycles_per_tick_(rte_get_tsc_hz() / kTicksPerSecond) {}
    [[nodiscard]] Tick at(std::uint64_t tsc) const noexcept {
        return Tick{static_cast<std::uint32_t>(tsc / cycles_per_tick_)};
    }
    [[nodiscard]] Tick now() const noexcept { return at(rte_rdtsc()); }

  private:
    std::uint64_t cycles_per_tick_;
};

}  // namespace weir
