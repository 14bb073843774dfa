// A World under a HealthMonitor, with stepped workers, one clock and probes that the test answers: the
// control core of weir without its loop.
#pragma once

#include "ctrl/health/monitor.h"
#include "tests/support/small_world.h"

namespace weir::test {

class AnsweredProbes final : public ProbeSource {
  public:
    ProbeId add(const ProbeSpec& spec, Duration, const std::string&, Callback callback) override {
        const ProbeId id{++added_};
        subscriptions_[id] = {spec.address, std::move(callback)};
        return id;
    }
    void remove(ProbeId id) override { subscriptions_.erase(id); }
    void probe_now(ProbeId) override {}
    // One probe of the address ends. False: nobody probes it.
    bool answer(const IpAddress& address, bool success) {
        bool any = false;
        for (const auto& [id, subscription] : subscriptions_) {
            if (subscription.address != address) continue;
            const ProbeOutcome outcome = success ? ProbeOutcome::success : ProbeOutcome::timeout;
            subscription.callback({outcome, success ? "connected" : "no answer within 2s", {}});
            any = true;
        }
        return any;
    }

  private:
    struct Subscription {
        IpAddress address;
        Callback callback;
    };
    std::map<ProbeId, Subscription> subscriptions_;
    std::uint64_t added_ = 0;
};

class MonitoredWorld {
  public:
    using Milliseconds = std::chrono::milliseconds;

    // `clients`: how many sticky ones a worker can remember; `sessions`: for how many it has room.
    MonitoredWorld(Config config, unsigned workers, std::uint64_t flows, std::uint64_t clients = 0,
                   std::uint64_t sessions = 0)
        : counters_(workers), monitor_(monitor_options()), world_(world_options(), counters_.all()) {
        apply(std::move(config));
        if ((clients != 0 || sessions != 0) && workers > 1) rings_ = std::move(*WorkerRings::make(workers));
        for (unsigned w = 0; w < workers; ++w) {
            workers_.push_back(
                std::make_unique<SteppedWorker>(counters_[w], flows, clients, w, rings_.get(), sessions));
            workers_.back()->join(world_, w);
            workers_.back()->latch();
        }
        monitor_.start(probes_);
    }
    ApplyReport apply(Config config, std::span<const BackendKey> cut = {}) {
        const auto report = world_.apply(std::move(config), cut);
        if (!report) {
            ADD_FAILURE() << report.error().message;
            std::abort();
        }
        return *report;
    }
    // Results count from the next flush() on.
    bool answer(const IpAddress& address, bool success) { return probes_.answer(address, success); }
    bool flush() { return monitor_.flush(world_); }
    void pass(Milliseconds time) { now_ += time; }
    void latch_all() {
        for (const auto& worker : workers_) worker->latch();
    }
    // What workers have handed to each other, until nothing is under way.
    void empty_rings() {
        for (bool any = rings_ != nullptr; any;) {
            any = false;
            for (const auto& worker : workers_) any |= worker->take_over(tick()) != 0;
        }
    }
    // Time passes, and everybody does what is due.
    void settle(Milliseconds time = Milliseconds(100)) {
        pass(time);
        latch_all();
        world_.tick();
        monitor_.tick(world_);
        latch_all();
    }
    [[nodiscard]] Tick tick() const {
        return tick_of_nanoseconds(static_cast<std::uint64_t>(std::chrono::nanoseconds(now_).count()));
    }
    [[nodiscard]] Milliseconds now() const { return now_; }
    [[nodiscard]] World& world() { return world_; }
    [[nodiscard]] HealthMonitor& monitor() { return monitor_; }
    [[nodiscard]] SteppedWorker& worker(std::size_t i = 0) { return *workers_[i]; }
    [[nodiscard]] unsigned workers() const { return static_cast<unsigned>(workers_.size()); }

    // The gauges against the tables, and every packet against its verdict.
    void expect_consistent() {
        std::uint64_t received = 0, judged = 0;
        for (const auto& worker : workers_) {
            const WorkerCounters& counters = worker->counters();
            received += counters.received.value();
            judged += counters.forwarded.value() + counters.answered.value() + counters.punted.value() +
                      dropped_in_all(counters);
            if (rings_ == nullptr) expect_accounted(counters);
            std::uint64_t by_backend = 0;
            for (std::uint32_t id = 0; id < world_.ids().backend_ids(); ++id)
                by_backend += worker->counters().backends[id].active_flows.value();
            EXPECT_EQ(by_backend, worker->pipeline().flows().entries());
        }
        EXPECT_EQ(received, judged);
    }

  private:
    [[nodiscard]] std::chrono::steady_clock::time_point time() const {
        return std::chrono::steady_clock::time_point(now_);
    }
    HealthMonitorOptions monitor_options() {
        HealthMonitorOptions made;
        made.now = [this] { return time(); };
        made.tick = [this] { return tick(); };
        made.unix_time = [this] { return 1e6 + std::chrono::duration<double>(now_).count(); };
        return made;
    }
    WorldOptions world_options() {
        WorldOptions made;
        made.ports = edge_facts();
        made.derive_unknown_macs = true;
        made.now = [this] { return time(); };
        made.assigned = [this](World& to, const ConfigDelta& delta) { monitor_.assigned(to, delta); };
        return made;
    }
    // A moment before the ticks of the flows' clock wrap, so that they do on the way.
    Milliseconds now_{(0xffff'f000ull * 1000) / kTicksPerSecond};
    CountingWorkers counters_;
    AnsweredProbes probes_;
    HealthMonitor monitor_;
    World world_;
    std::unique_ptr<WorkerRings> rings_;
    std::vector<std::unique_ptr<SteppedWorker>> workers_;
};

}  // namespace weir::test
