// What each backend may get, as health and lifecycle have decided it: the input of "compile" that no file
// holds.
//
// The control thread.
#pragma once

#include <vector>

#include "dataplane/ids.h"
#include "dataplane/tables/backend_table.h"
#include "dataplane/tables/ramps.h"

namespace weir {

struct MemberTraffic {
    bool eligible = true;  // gets new flows
    // What its known flows may expect. Of an eligible one they are served, whatever stands here; of one that
    // has left the configuration `serving` means `draining`.
    TrafficState known = TrafficState::serving;
    Ramp ramp{};  // slow start
    bool operator==(const MemberTraffic&) const = default;
};

// By BackendId. Every backend is eligible until somebody says otherwise.
class TrafficPlan {
  public:
    void set(BackendId id, MemberTraffic traffic) {
        if (index(id) >= by_id_.size()) by_id_.resize(index(id) + 1);
        if (by_id_[index(id)] == traffic) return;
        by_id_[index(id)] = traffic;
        changed_.push_back(id);
    }
    // A dead backend loses its known flows at once.
    void set(BackendId id, bool alive) {
        set(id, alive ? MemberTraffic{} : MemberTraffic{false, TrafficState::absent, {}});
    }
    [[nodiscard]] MemberTraffic operator[](BackendId id) const {
        return index(id) < by_id_.size() ? by_id_[index(id)] : MemberTraffic{};
    }
    // Set since the last forget_changes().
    [[nodiscard]] const std::vector<BackendId>& changed() const { return changed_; }
    // They have been compiled.
    void forget_changes() { changed_.clear(); }

  private:
    std::vector<MemberTraffic> by_id_;
    std::vector<BackendId> changed_;
};

}  // namespace weir
