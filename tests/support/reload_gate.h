// Freezes a reload between two of its steps, for race tests: WorldOptions::hook calls pass().
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "ctrl/world.h"

namespace weir::test {

// Holds the control thread where the hook says, until it is opened.
class ReloadGate {
  public:
    void close_at(ReloadStep step) {
        const std::lock_guard lock(mutex_);
        at_ = step;
    }
    void pass(ReloadStep step) {
        std::unique_lock lock(mutex_);
        if (at_ != step) return;
        frozen_ = true;
        changed_.notify_all();
        changed_.wait(lock, [this] { return !at_; });
    }
    [[nodiscard]] bool wait_until_frozen() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return frozen_; });
    }
    void open() {
        const std::lock_guard lock(mutex_);
        at_.reset();
        changed_.notify_all();
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<ReloadStep> at_;
    bool frozen_ = false;
};

}  // namespace weir::test
