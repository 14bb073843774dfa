// Tells the operator of a NIC that does not spread frames as weir computes (dataplane/rss_check.h): nothing
// is wrong but the speed, and nobody would see why. The control thread.
#pragma once

#include <bitset>
#include <span>

#include "ctrl/metrics/metrics_input.h"
#include "ctrl/notify.h"

namespace weir {

class RssWatch {
  public:
    // One sentence a port, as long as weir runs.
    void look(std::span<const PortStatistics> ports, std::span<const WorkerCounters* const> workers,
              const Notify& notify);

  private:
    std::bitset<kMaxPorts> told_;
};

}  // namespace weir
