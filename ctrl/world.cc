#include "ctrl/world.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir {

World::World(WorldOptions options, std::span<WorkerCounters* const> workers)
    : options_(std::move(options)),
      workers_(workers),
      compiled_(options_.selection_key, options_.derive_unknown_macs, options_.kernel),
      published_(options_.max_readers),
      named_(workers.size(), 0) {}

// What is known of a port belongs to its place in the file, so the list is fixed while weir runs.
Result<void> World::check_ports(const Config& next) const {
    if (next.ports.size() != options_.ports.size())
        return operator_error(
            fmt::format("ports: {} are configured, {} are running: restart weir to change that",
                        next.ports.size(), options_.ports.size()));
    if (config_ == nullptr) return {};
    for (std::size_t i = 0; i < next.ports.size(); ++i)
        if (next.ports[i].name != config_->ports[i].name)
            return operator_error(
                fmt::format("port \"{}\" was \"{}\": restart weir to rename or reorder ports",
                            next.ports[i].name, config_->ports[i].name));
    return {};
}

Result<ApplyReport> World::apply(Config next, std::span<const BackendKey> cut) {
    const Time begun = options_.now();
    if (auto ports = check_ports(next); !ports) return tl::make_unexpected(ports.error());
    auto config = std::make_unique<const Config>(std::move(next));
    const ConfigDelta delta(config_.get(), *config);
    if (auto ids = ids_.assign(delta, generation_ + 1); !ids) return tl::make_unexpected(ids.error());
    for (const BackendKey& backend : cut) ids_.cut(backend);
    reused_ = ids_.take_reused();
    for (const BackendId id : reused_.backends) traffic_.set(id, MemberTraffic{});
    if (options_.assigned) options_.assigned(*this, delta);
    want_ways(delta);
    const ApplyReport report = compile_and_publish(delta, begun);
    config_ = std::move(config);
    return report;
}

void World::want_ways(const ConfigDelta& delta) const {
    if (!options_.want_ways) return;
    std::vector<IpAddress> wanted;
    for (const std::size_t pool : delta.changed_pools())
        for (const BackendConfig& backend : delta.next().pools[pool].backends)
            wanted.push_back(backend.address);
    options_.want_ways(wanted);
}

std::vector<IpAddress> World::destinations() const {
    std::vector<IpAddress> destinations;
    for (const auto& [name, pool] : compiled_.pool_ids)
        for (const BackendId id : compiled_.pools[index(pool)].ids)
            destinations.push_back(compiled_.inputs[index(id)].address);
    return destinations;
}

ApplyReport World::republish() { return compile_and_publish(ConfigDelta::none(*config_), options_.now()); }

ApplyReport World::apply_ways(const WaysChange& change) {
    return compile_and_publish(ConfigDelta::none(*config_), options_.now(), &change);
}

ApplyReport World::compile_and_publish(const ConfigDelta& delta, Time begun, const WaysChange* ways) {
    ApplyReport report;
    report.generation = ++generation_;
    const std::vector<PoolId> drained = ids_.end_drains(generation_);
    auto snapshot =
        compile_snapshot({delta, ids_, options_.ports, traffic_, generation_, drained, ways, disabled_ports_,
                          static_cast<std::uint16_t>(std::max<std::size_t>(workers_.size(), 1))},
                         compiled_, &report.work);
    traffic_.forget_changes();
    if (!delta.is_none() || !drained.empty()) named_generation_ = generation_;
    const Time compiled = options_.now();
    reached(ReloadStep::compiled);
    checksum_ = snapshot->checksum;
    prepare_counters();
    publish(std::move(snapshot));
    report.compile_time = compiled - begun;
    report.publish_time = options_.now() - compiled;
    return report;
}

// Every id of the snapshot to come has its counters, and what an earlier owner of an id counted is noted.
void World::prepare_counters() {
    for (WorkerCounters* worker : workers_) {
        worker->services.ensure(ids_.service_ids());
        worker->backends.ensure(ids_.backend_ids());
    }
    for (const BackendId id : reused_.backends) counter_bases_.set(workers_, id);
    for (const ServiceId id : reused_.services) counter_bases_.set(workers_, id);
    reused_ = {};
}

void World::publish(std::unique_ptr<const ForwardingSnapshot> snapshot) {
    retired_ = published_.reclaim();
    if (retired_ >= kMaxRetired) {
        held_ = std::move(snapshot);
        return;
    }
    held_.reset();
    const std::uint64_t generation = snapshot->generation;
    reached(ReloadStep::before_publish);
    retired_ += published_.current() != nullptr ? 1 : 0;
    published_.publish(std::move(snapshot));
    pending_.push_back({generation, options_.now()});
    if (options_.wake_workers) options_.wake_workers();
    reached(ReloadStep::published);
}

void World::tick() {
    if (config_ == nullptr) return;
    const IdRegistry::Progress progress = ids_.observe(SweepView(workers_));
    const Time now = options_.now();
    settle(now);
    check_deadline(now);
    reclaim();
    if (progress.drained != 0) republish();
}

void World::reclaim() {
    const std::size_t before = retired_;
    retired_ = published_.reclaim();
    if (retired_ < before) reached(ReloadStep::reclaimed);
    if (held_ != nullptr && retired_ < kMaxRetired) publish(std::move(held_));
}

// Generations that every worker has taken, or passed over for a newer one.
void World::settle(Time now) {
    const std::uint64_t oldest = SweepView(workers_).oldest_generation();
    while (!pending_.empty() && pending_.front().generation <= oldest) {
        publish_durations_.record(now - pending_.front().published);
        pending_.pop_front();
    }
}

void World::check_deadline(Time now) {
    if (pending_.empty()) return;
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
        const std::uint64_t uses = workers_[worker]->snapshot_generation.value();
        // The oldest generation that it lacks: it has had the longest time to take that one.
        const auto lacking =
            std::ranges::find_if(pending_, [&](const Pending& p) { return p.generation > uses; });
        if (lacking == pending_.end() || lacking->generation <= named_[worker]) continue;
        const auto waited = now - lacking->published;
        if (waited < options_.publish_deadline) continue;
        named_[worker] = lacking->generation;
        ++missed_deadlines_;
        const std::string cpu = worker < options_.worker_cpus.size()
                                    ? fmt::format(" (cpu {})", options_.worker_cpus[worker])
                                    : "";
        notify(Severity::error,
               fmt::format("worker {}{} has not taken generation {} for {:.1f} s", worker, cpu,
                           lacking->generation, std::chrono::duration<double>(waited).count()));
    }
}

std::chrono::milliseconds World::tick_interval() const {
    using std::chrono::milliseconds;
    return pending_.empty() && retired_ == 0 && held_ == nullptr ? milliseconds(100) : milliseconds(1);
}

bool World::in_force() const {
    return held_ == nullptr && SweepView(workers_).oldest_generation() >= generation_;
}

}  // namespace weir
