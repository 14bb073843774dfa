// Changes and reloads, one after the other: plan -> write -> apply -> wait -> answer.
//
//   plan    the next configuration, judged; a mistake ends here
//   write   the journal, on another thread: durable before it is in force. If that fails nothing has changed
//   apply   World compiles and publishes
//   wait    until no worker uses anything older (World::settled_since), at most kPatience
//
// The next one is planned while workers still take the last, so that many clients do not wait for each
// other's workers. A reload writes nothing unless it drops entries of the journal, and that after it is in
// force: were the write lost, the next start would drop the same entries for the same reasons.
//
// The control thread. Answers may come after this object is gone: never; they are dropped with it.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ctrl/changes/effective_config.h"
#include "ctrl/changes/journal.h"
#include "ctrl/control_loop.h"
#include "ctrl/notify.h"
#include "ctrl/reload.h"
#include "ctrl/world.h"

namespace weir {

// The journal, and the lock that makes it ours.
struct JournalStore {
    StateDirectory directory;
    std::optional<Journal> journal;  // refers to the directory
};

class ChangeQueue {
  public:
    static constexpr std::chrono::seconds kPatience{5};
    using Answer = Result<nlohmann::ordered_json>;
    using Done = std::function<void(const Answer&)>;

    struct Parts {
        World& world;
        ControlLoop& loop;
        Notify notify;
        EffectiveConfig effective;  // what is in force
        // Null: changes are refused with `why_no_journal`.
        std::shared_ptr<JournalStore> store;
        std::string why_no_journal;
        std::function<void()> reload_begins;
        std::function<void()> applied;  // after a reload, taken or refused, and after a change
    };
    // `file`: the configuration's.
    ChangeQueue(Parts parts, std::string file);

    // `who` asks, for the log.
    void change(std::vector<Change> changes, std::string who, Done done);
    void reload(bool dry_run, Done done);
    // Many of these while one waits are one.
    void reload_by_signal();

    // Of the journal, in force.
    [[nodiscard]] const std::shared_ptr<const JournalEntries>& entries() const {
        return parts_.effective.entries();
    }
    [[nodiscard]] const ReloadStats& reloads() const { return reloader_.stats(); }

  private:
    using Time = std::chrono::steady_clock::time_point;
    struct Waiting {
        std::uint64_t generation;
        Time deadline;
        nlohmann::ordered_json result;
        Done done;
    };
    using Job = std::function<void()>;

    void enqueue(Job job);
    void next();
    void end_job();
    void start_change(const std::vector<Change>& changes, const std::string& who, const Done& done);
    void apply_change(ChangePlan plan, std::vector<Change> changes, const std::string& who, const Done& done);
    void take_back(const Error& why, const Done& done);
    void start_reload(bool dry_run, const Done& done);
    // Runs on the pool of threads; then `then` here, unless this object is gone.
    void write(std::function<Result<void>(Journal&)> what, std::function<void(const Result<void>&)> then);
    void wait_for(std::uint64_t generation, nlohmann::ordered_json result, Done done);
    void look_at_workers();
    [[nodiscard]] Error lagging(std::uint64_t generation) const;

    Parts parts_;
    Reloader reloader_;
    std::deque<Job> jobs_;
    bool busy_ = false, signalled_ = false, looking_ = false;
    std::deque<Waiting> waiting_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace weir
