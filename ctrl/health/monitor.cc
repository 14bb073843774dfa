#include "ctrl/health/monitor.h"

#include <algorithm>

#include "ctrl/config/first_services.h"
#include "ctrl/health/monitor_members.h"

namespace weir {
namespace {

double system_time() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::map<std::pair<std::string_view, IpAddress>, const BackendConfig*> by_identity(const PoolConfig& config) {
    std::map<std::pair<std::string_view, IpAddress>, const BackendConfig*> found;
    for (const BackendConfig& backend : config.backends)
        found.emplace(std::pair(std::string_view(backend.name), backend.address), &backend);
    return found;
}

std::map<std::string_view, PoolUse> used_pools(const Config& config) {
    std::map<std::string_view, PoolUse> used;
    for (const auto& [pool, service] : first_services(config))
        used.emplace(pool, PoolUse{service->ports.front().first, service->vip, service->forwarding});
    return used;
}

std::optional<PoolUse> use_of(std::string_view pool, const std::map<std::string_view, PoolUse>& used) {
    const auto use = used.find(pool);
    return use != used.end() ? std::optional(use->second) : std::nullopt;
}

// Precondition: no success.
UnhealthyReason unhealthy_reason(ProbeOutcome outcome) {
    if (outcome == ProbeOutcome::timeout) return UnhealthyReason::timeout;
    return outcome == ProbeOutcome::mismatch ? UnhealthyReason::response_code_mismatch
                                             : UnhealthyReason::failed_health_checks;
}

}  // namespace

HealthMonitor::HealthMonitor(HealthMonitorOptions options) : options_(std::move(options)) {
    if (!options_.unix_time) options_.unix_time = system_time;
}

HealthMonitor::~HealthMonitor() {
    for (const auto& [id, member] : members_) stop_probing(*member.second);
}

void HealthMonitor::notify(Severity severity, const std::string& sentence) const {
    if (options_.notify) options_.notify(severity, sentence);
}

void HealthMonitor::mark(Pool& pool) { marked_.insert(&pool); }

void HealthMonitor::assigned(World& world, const ConfigDelta& delta) {
    for (const PoolConfig* removed : delta.removed_pools()) {
        const auto place = pools_.find(removed->name);
        if (place == pools_.end()) continue;
        while (!place->second->members.empty()) forget(*place->second, *place->second->members.begin());
        marked_.erase(place->second.get());
        pools_.erase(place);
    }
    const UsedPools used = used_pools(delta.next());
    for (const std::size_t place : delta.changed_pools())
        follow_pool(world, delta.next().pools[place], used, delta.next().zone);
    forget_cut(world);
    follow_services(used);
    for (const auto& [name, pool] : pools_) {
        if (pool->own_zone == delta.next().zone) continue;
        pool->own_zone = delta.next().zone;
        mark(*pool);
    }
    for (Pool* pool : std::exchange(marked_, {})) judge(world, *pool);
    ++version_;
}

void HealthMonitor::follow_pool(World& world, const PoolConfig& config, const UsedPools& used,
                                const std::string& own_zone) {
    std::unique_ptr<Pool>& place = pools_[config.name];
    if (place == nullptr) place = std::make_unique<Pool>();
    Pool& pool = *place;
    pool.config = config;
    pool.own_zone = own_zone;
    pool.use = use_of(config.name, used);
    const auto configured = by_identity(config);
    const std::set<BackendId> before = pool.members;
    std::set<BackendId> present;
    for (const IdRegistry::Backend& known : world.ids().find_pool(config.name)->backends) {
        if (known.is_over()) continue;
        present.insert(known.id);
        const auto found = configured.find({known.name, known.address});
        const bool serves = known.phase == IdPhase::serving && found != configured.end();
        follow_member(world, pool, known, serves ? found->second : nullptr);
    }
    for (const BackendId id : before)
        if (!present.contains(id)) forget(pool, id);
    mark(pool);
}

// `config`: null if the backend has left the configuration and drains.
void HealthMonitor::follow_member(World& world, Pool& pool, const IdRegistry::Backend& known,
                                  const BackendConfig* config) {
    auto& place = members_[known.id];
    const bool is_new = place.second == nullptr;
    if (is_new) {
        place = {&pool, std::make_unique<Member>()};
        pool.members.insert(known.id);
        place.second->id = known.id;
        place.second->name = known.name;
        place.second->address = known.address;
    }
    Member& member = *place.second;
    if (config == nullptr) {
        if (member.is_registered()) begin_leaving(pool, member, Leaving::deregistering);
    } else {
        member.port = config->port;
        member.zone = config->zone;
        member.weight = config->weight;
        if (is_new || !member.is_registered()) register_member(world, pool, member);
        if (config->drained && member.leaving == Leaving::no) begin_leaving(pool, member, Leaving::stopping);
        if (!config->drained && member.leaving != Leaving::no) {
            member.leaving = Leaving::no;
            member.cut = false;
        }
    }
    probe(pool, member);
    refresh(pool, member);
}

// Also of one that comes back while it drains: it keeps its health, which probes have kept up to date.
void HealthMonitor::register_member(World& world, Pool& pool, Member& member) {
    const bool returns = member.leaving != Leaving::no;
    member.leaving = Leaving::no;
    member.cut = false;
    member.generation = world.generation() + 1;
    waiting_.insert(member.id);
    std::erase_if(departed_, [&](const auto& entry) {
        return entry.second.pool == pool.config.name && entry.second.name == member.name;
    });
    if (returns) return;
    const auto saved = options_.saved.entries.find({pool.config.name, member.name, member.address});
    if (saved != options_.saved.entries.end()) {
        member.inherited = BackendHealth{.verdict = saved->second.verdict, .reason = saved->second.reason};
        member.answer = saved->second.answer;
        member.shown = backend_status(facts_of(pool, member));
        member.since = saved->second.since;
        options_.saved.entries.erase(saved);
        return;
    }
    member.since = options_.unix_time();
    member.shown = backend_status(facts_of(pool, member));
    if (!pool.config.health_check && probes_ != nullptr) begin_ramp(pool, member);  // not at weir's own start
}

void HealthMonitor::begin_leaving(Pool& pool, Member& member, Leaving how) {
    member.leaving = how;
    member.leaves_at = options_.now() + pool.config.deregistration_delay;
    waiting_.insert(member.id);
}

// What `--now` took off while it drained, in a pool that the configuration says nothing new of: who is told
// that it is in force sees it gone.
void HealthMonitor::forget_cut(const World& world) {
    for (const BackendId id : std::set<BackendId>(waiting_)) {
        const auto& [pool, member] = members_.at(id);
        if (!member->is_registered() && !world.ids().knows(pool->config.name, id)) forget(*pool, id);
    }
}

void HealthMonitor::forget(Pool& pool, BackendId id) {
    const auto place = members_.find(id);
    stop_probing(*place->second.second);
    remember(pool, *place->second.second);
    waiting_.erase(id);
    pool.members.erase(id);
    members_.erase(place);
    ++version_;
}

// A backend that has left is still asked for.
void HealthMonitor::remember(const Pool& pool, const Member& member) {
    MonitoredBackend row{.pool = pool.config.name,
                         .name = member.name,
                         .address = member.address,
                         .port = member.port,
                         .zone = member.zone,
                         .weight = member.weight,
                         .status = backend_status({.leaving = Leaving::deregistered}),
                         .description = {},
                         .since = options_.unix_time(),
                         .id = kNoBackend};
    if (member.shown == row.status) row.since = member.since;
    const auto same = [&](const auto& entry) {
        return entry.second.pool == row.pool && entry.second.name == row.name;
    };
    std::erase_if(departed_, same);
    departed_.emplace_back(options_.now() + kRemembered, std::move(row));
    if (departed_.size() > kMostRemembered) departed_.pop_front();
}

void HealthMonitor::follow_services(const UsedPools& used) {
    for (const auto& [name, pool] : pools_) {
        const std::optional<PoolUse> use = use_of(name, used);
        if (pool->use == use) continue;
        pool->use = use;
        for (const BackendId id : pool->members) {
            Member& member = *members_[id].second;
            probe(*pool, member);
            refresh(*pool, member);
        }
        mark(*pool);
    }
}

void HealthMonitor::start(ProbeSource& probes) {
    probes_ = &probes;
    for (const auto& [id, entry] : members_) probe(*entry.first, *entry.second);
}

// Subscribes to the probe that the member needs now, if any. What was known by another one holds until the
// first verdict of this.
void HealthMonitor::probe(Pool& pool, Member& member) {
    const auto& check = pool.config.health_check;
    if (probes_ == nullptr) return;
    if (!check || !pool.is_used() || member.leaving == Leaving::deregistered) {
        stop_probing(member);
        if (!check || !pool.is_used()) {
            member.health = {};
            member.inherited.reset();
            member.answer.clear();
        }
        return;
    }
    ProbeSpec spec = make_probe_spec(*check, member.address, member.port.value_or(pool.use->port));
    spec.proxy_header = wants_proxy_header(*check, pool.config.client_address);
    if (check->via == ProbePath::vip) spec.via = ProbeVia{pool.use->vip, {member.id, pool.use->mode}};
    if (member.probe && member.spec == spec && member.interval == check->interval) return;
    if (member.spec && member.spec != spec) {
        member.inherited = member.effective();
        member.health = {};
    }
    stop_probing(member);
    member.spec = spec;
    member.interval = check->interval;
    member.probe =
        probes_->add(spec, check->interval, pool.config.name,
                     [this, id = member.id](const ProbeResult& result) { take_result(id, result); });
}

void HealthMonitor::stop_probing(Member& member) {
    if (member.probe) probes_->remove(*member.probe);
    member.probe.reset();
    member.spec.reset();
}

void HealthMonitor::take_result(BackendId id, const ProbeResult& result) {
    auto& [pool, member] = members_.at(id);
    const HealthVerdict before = member->effective().verdict;
    const HealthThresholds thresholds = pool->thresholds();
    member->health = result.outcome == ProbeOutcome::success
                         ? after_success(member->health, thresholds)
                         : after_failure(member->health, unhealthy_reason(result.outcome), thresholds);
    if (member->health.verdict != HealthVerdict::none) member->inherited.reset();
    if (member->answer != result.answer) ++version_;
    member->answer = result.answer;
    const bool is_news = member->effective().verdict != before;
    if (is_news) verdict_changed(*pool, *member);
    refresh(*pool, *member);
    if (is_news && on_news_) on_news_();
}

void HealthMonitor::verdict_changed(Pool& pool, Member& member) {
    const Time now = options_.now();
    member.keeps_until.reset();
    const bool is_unhealthy = member.effective().verdict == HealthVerdict::unhealthy;
    if (is_unhealthy && pool.config.unhealthy_draining != Duration(0)) {
        member.keeps_until = now + pool.config.unhealthy_draining;
        waiting_.insert(member.id);
    }
    if (member.effective().verdict == HealthVerdict::healthy) begin_ramp(pool, member);
    unpublished_.push_back(now);
    mark(pool);
}

void HealthMonitor::begin_ramp(const Pool& pool, Member& member) {
    const Duration length = pool.config.slow_start;
    if (length == Duration(0) || !options_.tick) return;
    member.ramp = {options_.tick(), static_cast<TickCount>(length.count() * kTicksPerSecond / 1000)};
    member.ramps_until = options_.now() + length;
    waiting_.insert(member.id);
}

std::vector<MonitoredBackend> HealthMonitor::rows() const {
    std::vector<MonitoredBackend> rows;
    for (const auto& [name, pool] : pools_) {
        const std::size_t first = rows.size();
        for (const BackendId id : pool->members) {
            const Member& member = *members_.at(id).second;
            rows.push_back({name, member.name, member.address, member.port, member.zone, member.weight,
                            member.shown, member.answer, member.since, id});
        }
        std::sort(rows.begin() + static_cast<std::ptrdiff_t>(first), rows.end(),
                  [](const MonitoredBackend& a, const MonitoredBackend& b) {
                      return std::tie(a.name, a.address) < std::tie(b.name, b.address);
                  });
        for (const auto& [until, row] : departed_)
            if (row.pool == name) rows.push_back(row);
    }
    return rows;
}

const BackendStatus* HealthMonitor::status_of(BackendId id) const {
    const auto member = members_.find(id);
    return member == members_.end() ? nullptr : &member->second.second->shown;
}

const PoolHealth* HealthMonitor::pool(std::string_view name) const {
    const auto pool = pools_.find(name);
    return pool == pools_.end() ? nullptr : &pool->second->shown;
}

std::set<IpAddress> HealthMonitor::withdrawn_vips(const Config& config) const {
    std::set<IpAddress> withdrawn, wanted;
    for (const ServiceConfig& service : config.services) {
        const PoolHealth* shown = pool(service.pool);
        (shown != nullptr && shown->withdrawn ? withdrawn : wanted).insert(service.vip);
    }
    for (const IpAddress& vip : wanted) withdrawn.erase(vip);
    return withdrawn;
}

SavedHealth HealthMonitor::save() const {
    SavedHealth saved;
    saved.written = options_.unix_time();
    for (const auto& [id, entry] : members_) {
        const auto& [pool, member] = entry;
        const BackendHealth& health = member->effective();
        if (health.verdict == HealthVerdict::none || !member->is_registered()) continue;
        saved.entries[{pool->config.name, member->name, member->address}] = {health.verdict, health.reason,
                                                                             member->answer, member->since};
    }
    return saved;
}

}  // namespace weir
