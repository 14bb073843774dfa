#include "ctrl/api/change_queue.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "ctrl/tables/sweep_view.h"

namespace weir {
namespace {

using nlohmann::ordered_json;

constexpr std::chrono::milliseconds kLook{1};
// Of a batch, as many changes and warnings are logged one by one; who asked is told all.
constexpr std::size_t kLoggedChanges = 10;

// Every worker says that it uses the generation, and none can be in the middle of something with an older
// one.
bool is_in_force(const World& world, std::uint64_t generation) {
    return SweepView(world.workers()).oldest_generation() >= generation && world.settled_since(generation);
}

}  // namespace

ChangeQueue::ChangeQueue(Parts parts, std::string file)
    : parts_(std::move(parts)), reloader_(parts_.world, std::move(file), [this](const std::string& path) {
          return parts_.effective.read_file(path);
      }) {
    reloader_.started();
}

void ChangeQueue::change(std::vector<Change> changes, std::string who, Done done) {
    enqueue([this, changes = std::move(changes), who = std::move(who), done = std::move(done)] {
        start_change(changes, who, done);
    });
}

void ChangeQueue::reload(bool dry_run, Done done) {
    enqueue([this, dry_run, done = std::move(done)] { start_reload(dry_run, done); });
}

void ChangeQueue::reload_by_signal() {
    if (signalled_) return;
    signalled_ = true;
    enqueue([this] {
        signalled_ = false;
        start_reload(false, [](const Answer&) {});
    });
}

void ChangeQueue::enqueue(Job job) {
    jobs_.push_back(std::move(job));
    if (!busy_) next();
}

void ChangeQueue::next() {
    busy_ = true;
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    job();
}

// The next job starts from the loop: signals and clients come between.
void ChangeQueue::end_job() {
    busy_ = false;
    if (jobs_.empty()) return;
    busy_ = true;
    parts_.loop.after(std::chrono::milliseconds(0), [this, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) next();
    });
}

void ChangeQueue::start_change(const std::vector<Change>& changes, const std::string& who, const Done& done) {
    if (parts_.store == nullptr) {
        done(operator_error(fmt::format("run-time changes cannot be kept: {}", parts_.why_no_journal)));
        return end_job();
    }
    auto plan = parts_.effective.plan(changes);
    if (!plan) {
        done(tl::make_unexpected(plan.error()));
        return end_job();
    }
    if (plan->changed.empty() && plan->cut.empty()) {
        wait_for(parts_.world.generation(), {{"changed", 0}, {"warnings", ordered_json::array()}}, done);
        return end_job();
    }
    JournalWrite line{journal_line(plan->changed, *plan->entries), plan->entries};
    const bool nothing_to_write = plan->changed.empty();
    auto shared = std::make_shared<ChangePlan>(std::move(*plan));
    write([line = std::move(line), nothing_to_write](
              Journal& journal) { return nothing_to_write ? Result<void>() : journal.write(line); },
          [this, shared, changes, who, done](const Result<void>& written) {
              if (written) return apply_change(std::move(*shared), changes, who, done);
              parts_.notify(Severity::error, written.error().message);
              done(tl::make_unexpected(written.error()));
              end_job();
          });
}

void ChangeQueue::apply_change(ChangePlan plan, std::vector<Change> changes, const std::string& who,
                               const Done& done) {
    const auto applied = parts_.world.apply(plan.config, plan.cut);
    if (!applied) return take_back(applied.error(), done);
    for (std::size_t i = 0; i < changes.size() && i < kLoggedChanges; ++i)
        parts_.notify(Severity::info, fmt::format("{}: {}", who, to_text(changes[i])));
    if (changes.size() > kLoggedChanges)
        parts_.notify(Severity::info,
                      fmt::format("{}: {} more changes", who, changes.size() - kLoggedChanges));
    for (std::size_t i = 0; i < plan.warnings.size() && i < kLoggedChanges; ++i)
        parts_.notify(Severity::warning, plan.warnings[i]);
    ordered_json result = {
        {"changed", plan.changed.size()}, {"generation", applied->generation}, {"warnings", plan.warnings}};
    parts_.effective.commit(std::move(plan));
    parts_.applied();
    wait_for(applied->generation, std::move(result), done);
    end_job();
}

// World would not have it: the journal is as it was before.
void ChangeQueue::take_back(const Error& why, const Done& done) {
    write([entries = parts_.effective.entries()](Journal& journal) { return journal.rewrite(*entries); },
          [this, why, done](const Result<void>& written) {
              if (!written) parts_.notify(Severity::error, written.error().message);
              done(tl::make_unexpected(why));
              end_job();
          });
}

void ChangeQueue::start_reload(bool dry_run, const Done& done) {
    if (!dry_run) parts_.reload_begins();
    auto report = reloader_.reload(dry_run);
    const bool settled = report && !dry_run && parts_.effective.commit_file();
    if (!dry_run) parts_.applied();
    if (!report) {
        done(tl::make_unexpected(report.error()));
        return end_job();
    }
    ordered_json result = {{"changes", report->changes}, {"warnings", report->warnings}};
    if (dry_run) {
        done(result);
        return end_job();
    }
    const std::uint64_t generation = report->generation;
    result["generation"] = generation;
    if (!settled || parts_.store == nullptr) {
        wait_for(generation, std::move(result), done);
        return end_job();
    }
    write([entries = parts_.effective.entries()](Journal& journal) { return journal.rewrite(*entries); },
          [this, generation, result, done](const Result<void>& written) {
              // They are dropped again when they are read again.
              if (!written) parts_.notify(Severity::warning, written.error().message);
              wait_for(generation, result, done);
              end_job();
          });
}

void ChangeQueue::write(std::function<Result<void>(Journal&)> what,
                        std::function<void(const Result<void>&)> then) {
    auto outcome = std::make_shared<Result<void>>();
    parts_.loop.in_background(
        // The store lives as long as the thread that writes to it.
        [store = parts_.store, what = std::move(what), outcome] { *outcome = what(*store->journal); },
        [outcome, then = std::move(then), alive = std::weak_ptr(alive_)] {
            if (!alive.expired()) then(*outcome);
        });
}

void ChangeQueue::wait_for(std::uint64_t generation, ordered_json result, Done done) {
    waiting_.push_back(
        {generation, std::chrono::steady_clock::now() + kPatience, std::move(result), std::move(done)});
    if (looking_) return;
    looking_ = true;
    look_at_workers();
}

// Until nobody waits. World's own tick comes too seldom for somebody who does.
void ChangeQueue::look_at_workers() {
    parts_.world.tick();
    const auto now = std::chrono::steady_clock::now();
    while (!waiting_.empty()) {
        Waiting& first = waiting_.front();
        const bool settled = is_in_force(parts_.world, first.generation);
        if (!settled && now < first.deadline) break;
        const Waiting ended = std::move(first);
        waiting_.pop_front();
        ended.done(settled ? Answer(ended.result) : Answer(tl::make_unexpected(lagging(ended.generation))));
    }
    looking_ = !waiting_.empty();
    if (!looking_) return;
    parts_.loop.after(kLook, [this, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) look_at_workers();
    });
}

Error ChangeQueue::lagging(std::uint64_t generation) const {
    std::vector<std::size_t> late;
    const auto workers = parts_.world.workers();
    for (std::size_t i = 0; i < workers.size(); ++i)
        if (workers[i]->snapshot_generation.value() < generation) late.push_back(i);
    if (late.empty())
        return {fmt::format(
                    "generation {} is published and kept, but an older one is still in use after {} s; try "
                    "again, and look at the log",
                    generation, kPatience.count()),
                Error::Cause::machine};
    return {fmt::format(
                "generation {} is published and kept, but worker {} has not taken it for {} s; it comes into "
                "force there once that worker moves: look at its CPU",
                generation, fmt::join(late, ", "), kPatience.count()),
            Error::Cause::machine};
}

}  // namespace weir
