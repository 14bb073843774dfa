// Which pools of a new configuration are word for word those of the one in force. Computed once per reload
// and handed to everything that would otherwise compare 100,000 backends again.
#pragma once

#include <cstddef>
#include <vector>

#include "ctrl/config/config.h"

namespace weir {

// Refers to both configurations: no longer-lived than they are. A plain value; the control thread.
class PoolDelta {
  public:
    // `previous` may be null: everything is new.
    PoolDelta(const Config* previous, const Config& next);
    // From a configuration to itself: health or drains changed, nothing that was typed.
    static PoolDelta none(const Config& config) { return PoolDelta(config); }

    // The pool at `next.pools[i]` is in `previous`, equal in every setting.
    [[nodiscard]] bool unchanged(std::size_t i) const { return unchanged_[i]; }
    // Pools of `previous` whose names are gone.
    [[nodiscard]] const std::vector<const PoolConfig*>& removed() const { return removed_; }
    [[nodiscard]] const Config& next() const { return *next_; }

  private:
    explicit PoolDelta(const Config& config) : next_(&config), unchanged_(config.pools.size(), true) {}

    const Config* next_;
    std::vector<bool> unchanged_;
    std::vector<const PoolConfig*> removed_;
};

}  // namespace weir
