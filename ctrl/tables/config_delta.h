// What differs between a new configuration and the one in force, as far as tables are made of it. Computed
// once per change and handed to everything that would otherwise compare all of it again.
#pragma once

#include <cstddef>
#include <vector>

#include "ctrl/config/config.h"

namespace weir {

// Refers to both configurations: no longer-lived than they are. A plain value; the control thread.
class ConfigDelta {
  public:
    // `previous` may be null: everything is new.
    ConfigDelta(const Config* previous, const Config& next);
    // From a configuration to itself: health or drains changed, nothing that was typed.
    static ConfigDelta none(const Config& config) { return ConfigDelta(config); }

    [[nodiscard]] const Config& next() const { return *next_; }
    // The two are the same object: each pool stands in its place and no other answer below says "changed".
    [[nodiscard]] bool is_none() const { return none_; }
    // Places in next().pools, ascending, of pools that `previous` lacks or has with another setting.
    [[nodiscard]] const std::vector<std::size_t>& changed_pools() const { return changed_pools_; }
    // Pools of `previous` whose names are gone.
    [[nodiscard]] const std::vector<const PoolConfig*>& removed_pools() const { return removed_pools_; }
    [[nodiscard]] bool services_changed() const { return services_changed_; }
    // Ports, neighbors or routes.
    [[nodiscard]] bool ways_changed() const { return ways_changed_; }

  private:
    explicit ConfigDelta(const Config& config) : next_(&config), none_(true) {}

    const Config* next_;
    bool none_ = false;
    bool services_changed_ = false, ways_changed_ = false;
    std::vector<std::size_t> changed_pools_;
    std::vector<const PoolConfig*> removed_pools_;
};

}  // namespace weir
