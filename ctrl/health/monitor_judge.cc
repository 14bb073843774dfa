// HealthMonitor: what a member is shown as, what it may get, and what time changes of both.
#include <fmt/format.h>

#include "ctrl/health/monitor.h"
#include "ctrl/health/monitor_members.h"
#include "ctrl/tables/sweep_view.h"

namespace weir {

namespace {

constexpr std::chrono::milliseconds kLook{20};  // between two looks at the members that wait for time

std::string sentence_of(const std::string& pool, const std::string& name, const BackendStatus& status,
                        const std::string& answer) {
    std::string text = fmt::format("pool {}: backend {} is {}", pool, name, name_of(status.state));
    if (!status.reason.empty()) text += fmt::format(" ({})", status.reason);
    const bool about_health = status.state == BackendState::healthy ||
                              status.state == BackendState::unhealthy ||
                              status.state == BackendState::unhealthy_draining;
    if (about_health && !answer.empty()) text += ": " + answer;
    return text;
}

}  // namespace

BackendFacts HealthMonitor::facts_of(const Pool& pool, const Member& member) const {
    BackendFacts facts;
    facts.leaving = member.leaving;
    facts.pool_is_used = pool.is_used();
    facts.has_check = pool.config.health_check.has_value();
    facts.can_be_probed = can_probe_;
    facts.in_every_worker = member.generation == 0;
    facts.keeps_flows = member.keeps_until.has_value();
    facts.health = member.effective();
    return facts;
}

void HealthMonitor::refresh(Pool& pool, Member& member) {
    const BackendStatus status = backend_status(facts_of(pool, member));
    if (status == member.shown) return;
    const BackendState before = member.shown.state;
    member.shown = status;
    ++version_;
    if (status.state == before) return;
    member.since = options_.unix_time();
    ++transitions_[{pool.config.name, member.name}][static_cast<std::size_t>(status.state)];
    const bool bad =
        status.state == BackendState::unhealthy || status.state == BackendState::unhealthy_draining;
    notify(bad ? Severity::warning : Severity::info,
           sentence_of(pool.config.name, member.name, status, member.answer));
}

namespace {

// Of an unhealthy member whose pool says so, while or for as long as it says so.
struct FlowsOfUnhealthy {
    bool keep, cut;
};
FlowsOfUnhealthy flows_of_unhealthy(const PoolConfig& config, bool within_its_time) {
    if (config.unhealthy_flows == UnhealthyFlows::reset) return {false, true};
    if (config.unhealthy_flows != UnhealthyFlows::keep) return {false, false};
    const bool keeps = within_its_time || config.unhealthy_draining == Duration(0);
    return {keeps, !keeps};
}

}  // namespace

void HealthMonitor::judge(World& world, Pool& pool) {
    std::vector<PoolMember> judged;
    std::vector<const Member*> registered;
    for (const BackendId id : pool.members) {
        const Member& member = *members_.at(id).second;
        if (!member.is_registered()) continue;
        const bool is_unhealthy = member.effective().verdict == HealthVerdict::unhealthy;
        const FlowsOfUnhealthy flows = flows_of_unhealthy(pool.config, member.keeps_until.has_value());
        registered.push_back(&member);
        judged.push_back({.verdict = member.effective().verdict,
                          .has_check = pool.config.health_check.has_value() && pool.is_used(),
                          .drained = member.leaving != Leaving::no,
                          .has_weight = member.weight != 0,
                          .is_near = member.zone == pool.own_zone,
                          .keeps_flows = is_unhealthy && flows.keep,
                          .cuts_flows = member.cut || (is_unhealthy && flows.cut)});
    }
    const PoolTraffic traffic = judge_pool(judged, policy_of(pool.config));
    for (std::size_t i = 0; i < registered.size(); ++i) {
        MemberTraffic member = traffic.members[i];
        if (member.eligible && registered[i]->ramps_until) member.ramp = registered[i]->ramp;
        world.set_traffic(registered[i]->id, member);
    }
    for (const BackendId id : pool.members)
        if (const Member& member = *members_.at(id).second; !member.is_registered())
            world.set_traffic(id, {false, leaver_traffic(pool, member, traffic.fails_open), {}});
    show_pool(pool, traffic, registered.size());
}

// What known flows of a member that has left the configuration may expect.
TrafficState HealthMonitor::leaver_traffic(const Pool& pool, const Member& member, bool fails_open) const {
    if (member.cut) return TrafficState::cut;
    if (fails_open || member.effective().verdict != HealthVerdict::unhealthy) return TrafficState::draining;
    const FlowsOfUnhealthy flows = flows_of_unhealthy(pool.config, member.keeps_until.has_value());
    if (flows.keep) return TrafficState::draining;
    return flows.cut ? TrafficState::cut : TrafficState::absent;
}

void HealthMonitor::show_pool(Pool& pool, const PoolTraffic& traffic, std::size_t registered) {
    const PoolHealth now{traffic.below_minimum, traffic.fails_open, traffic.spills_over, traffic.withdrawn};
    const PoolHealth before = std::exchange(pool.shown, now);
    if (now == before) return;
    ++version_;
    const MinimumHealthyConfig& minimum = pool.config.minimum_healthy;
    const std::string& name = pool.config.name;
    if (now.below_minimum != before.below_minimum)
        notify(now.below_minimum ? Severity::warning : Severity::info,
               now.below_minimum
                   ? fmt::format("pool {}: fewer of its {} backends are healthy than minimum_healthy allows "
                                 "({} and {} %): {}",
                                 name, registered, minimum.count, minimum.percentage,
                                 now.fails_open  ? "all of them get traffic (fail_open)"
                                 : now.withdrawn ? "its VIPs are withdrawn"
                                                 : "its services take no new flows (drop)")
                   : fmt::format("pool {}: enough of its backends are healthy again", name));
    if (now.spills_over != before.spills_over)
        notify(
            now.spills_over ? Severity::warning : Severity::info,
            now.spills_over
                ? fmt::format("pool {}: too few backends of weir's own zone are healthy: those of all zones "
                              "get traffic",
                              name)
                : fmt::format("pool {}: the backends of weir's own zone get its traffic again", name));
}

void HealthMonitor::set_can_probe(bool can) {
    if (std::exchange(can_probe_, can) == can) return;
    for (const auto& [id, entry] : members_) refresh(*entry.first, *entry.second);
}

bool HealthMonitor::flush(World& world) {
    for (Pool* pool : std::exchange(marked_, {})) judge(world, *pool);
    const bool changes = world.has_unpublished_traffic();
    if (changes) world.republish();
    for (const Time came : std::exchange(unpublished_, {})) reacting_.emplace_back(world.generation(), came);
    return changes;
}

void HealthMonitor::tick(World& world) {
    const Time now = options_.now();
    measure(world, now);
    if (now < next_tick_) return;
    next_tick_ = now + kLook;
    tick_members(world, now);
    if (now >= next_look_for_trouble_) {
        next_look_for_trouble_ = now + std::chrono::seconds(1);
        look_for_trouble(world);
    }
    while (!departed_.empty() && departed_.front().first <= now) {
        departed_.pop_front();
        ++version_;
    }
    if (has_news()) flush(world);
}

// Results whose verdict every worker follows by now.
void HealthMonitor::measure(const World& world, Time now) {
    if (reacting_.empty()) return;
    const std::uint64_t oldest = SweepView(world.workers()).oldest_generation();
    for (; !reacting_.empty() && reacting_.front().first <= oldest; reacting_.pop_front())
        reactions_.record(now - reacting_.front().second);
}

void HealthMonitor::look_for_trouble(const World& world) {
    for (const auto& [name, pool] : pools_) {
        if (!pool->config.health_check || !pool->config.health_check->passive) continue;
        for (const BackendId id : pool->members) {
            Member& member = *members_.at(id).second;
            BackendSums sums;
            for (const WorkerCounters* worker : world.workers()) add_counters(sums, *worker, id);
            const BackendSums before = std::exchange(member.seen, sums).value_or(sums);
            const std::uint64_t repeats = sums.syn_repeats - before.syn_repeats;
            const std::uint64_t resets = sums.client_resets - before.client_resets;
            if (member.probe && (repeats >= kTroublingRepeats || resets >= kTroublingResets))
                probes_->probe_now(*member.probe);
        }
    }
}

void HealthMonitor::tick_members(World& world, Time now) {
    for (const BackendId id : std::set<BackendId>(waiting_)) {
        auto& [pool, member] = members_.at(id);
        if (member->generation != 0 && world.settled_since(member->generation)) member->generation = 0;
        if (member->keeps_until && *member->keeps_until <= now) {
            member->keeps_until.reset();
            mark(*pool);
        }
        if (member->ramps_until && *member->ramps_until <= now) {
            member->ramps_until.reset();
            mark(*pool);
        }
        const bool waits =
            member->generation != 0 || member->keeps_until || member->ramps_until || is_leaving(*member);
        refresh(*pool, *member);
        if (!waits) {
            waiting_.erase(id);
        } else if (is_leaving(*member)) {
            tick_leaving(world, *pool, *member, now);
        }
    }
}

bool HealthMonitor::is_leaving(const Member& member) { return member.leaving != Leaving::no; }

// A drain ends with its last flow, or at its deadline. The member itself is there until the registry lets it
// go.
void HealthMonitor::tick_leaving(World& world, Pool& pool, Member& member, Time now) {
    if (!member.is_registered() && !world.ids().knows(pool.config.name, member.id))
        return forget(pool, member.id);
    const bool in_force = member.generation == 0 && world.in_force();
    const bool empty = in_force && SweepView(world.workers()).active_flows(member.id) == 0;
    if (!empty && now < member.leaves_at) return;
    if (member.leaving == Leaving::stopping) member.leaving = Leaving::stopped;
    if (member.leaving == Leaving::deregistering) member.leaving = Leaving::deregistered;
    if (now >= member.leaves_at && pool.config.connection_termination && !member.cut) {
        member.cut = true;
        mark(pool);
    }
    probe(pool, member);
    refresh(pool, member);
}

}  // namespace weir
