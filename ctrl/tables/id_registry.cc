#include "ctrl/tables/id_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "dataplane/tables/maglev_table.h"

namespace weir {

std::uint32_t IdStock::take() {
    if (free_.empty()) return next_++;
    const std::uint32_t id = free_.top();
    free_.pop();
    return id;
}

namespace {

auto order(const IdRegistry::Backend& backend) { return std::tie(backend.name, backend.address); }

}  // namespace

// The pool's backends after the change: those of the configuration serve, known ones that it lacks drain or
// stay gone. New ones have no id yet.
std::vector<IdRegistry::Backend> IdRegistry::merge(const PoolConfig& config, const Pool* known,
                                                   std::uint64_t generation) {
    std::vector<Backend> merged;
    merged.reserve(config.backends.size() + (known != nullptr ? known->backends.size() : 0));
    for (const BackendConfig& backend : config.backends)
        merged.push_back({.name = backend.name,
                          .address = backend.address,
                          .since = generation,
                          .forwarding = backend.forwarding});
    std::sort(merged.begin(), merged.end(),
              [](const Backend& a, const Backend& b) { return order(a) < order(b); });
    if (known == nullptr) return merged;
    const std::size_t configured = merged.size();
    std::size_t next = 0;
    for (const Backend& old : known->backends) {
        while (next < configured && order(merged[next]) < order(old)) ++next;
        if (next < configured && order(merged[next]) == order(old)) {
            merged[next].id = old.id;
            if (old.phase == IdPhase::serving) merged[next].since = old.since;
            continue;
        }
        merged.push_back(old);
        if (old.phase != IdPhase::serving) continue;
        merged.back().phase = IdPhase::draining;
        merged.back().since = generation;
        merged.back().drained = false;
    }
    std::inplace_merge(merged.begin(), merged.begin() + static_cast<std::ptrdiff_t>(configured), merged.end(),
                       [](const Backend& a, const Backend& b) { return order(a) < order(b); });
    return merged;
}

Result<void> IdRegistry::check_room(const std::vector<PoolPlan>& plans, const ConfigDelta& delta) const {
    std::size_t new_backends = 0, new_pools = 0, new_services = 0;
    for (const PoolPlan& plan : plans) {
        if (plan.config->backends.size() > MaglevTable::kMaxMembers)
            return operator_error(fmt::format("pool \"{}\" has {} backends; at most {} are possible",
                                              plan.config->name, plan.config->backends.size(),
                                              MaglevTable::kMaxMembers));
        new_pools += pools_.contains(plan.config->name) ? 0 : 1;
        for (const Backend& backend : plan.backends) new_backends += backend.id == kNoBackend ? 1 : 0;
    }
    if (delta.services_changed())
        for (const ServiceConfig& service : delta.next().services)
            new_services += services_.contains({service.name, service.vip}) ? 0 : 1;
    const auto refuse = [](std::size_t wanted, const IdStock& stock, std::string_view what) {
        return operator_error(
            fmt::format("{} new {} are too many: {} ids are free (those of removed ones become free when "
                        "their flows have ended)",
                        wanted, what, stock.available()));
    };
    if (new_backends > backend_stock_.available()) return refuse(new_backends, backend_stock_, "backends");
    if (new_pools > pool_stock_.available()) return refuse(new_pools, pool_stock_, "pools");
    if (new_services > service_stock_.available()) return refuse(new_services, service_stock_, "services");
    return {};
}

void IdRegistry::commit_pool(PoolPlan& plan) {
    const auto [place, is_new] = pools_.try_emplace(plan.config->name);
    Pool& pool = place->second;
    if (is_new) pool.id = PoolId{pool_stock_.take()};
    pool.phase = IdPhase::serving;
    pool.backends = std::move(plan.backends);
    for (Backend& backend : pool.backends) {
        if (backend.id != kNoBackend) continue;
        const std::uint32_t given = backend_stock_.high_water();
        backend.id = BackendId{backend_stock_.take()};
        if (index(backend.id) < given) reused_.backends.push_back(backend.id);
    }
    count_draining(pool);
}

void IdRegistry::count_draining(Pool& pool) {
    draining_ -= pool.draining;
    pool.draining =
        static_cast<std::size_t>(std::ranges::count(pool.backends, IdPhase::draining, &Backend::phase));
    draining_ += pool.draining;
    if (pool.draining != 0)
        draining_pools_.insert(&pool);
    else
        draining_pools_.erase(&pool);
}

void IdRegistry::remove_pool(const std::string& name, std::uint64_t generation) {
    Pool& pool = pools_.find(name)->second;
    pool.phase = IdPhase::gone;
    pool.since = generation;
    waits_.try_emplace(generation);
    for (Backend& backend : pool.backends) {
        if (backend.phase == IdPhase::gone) continue;
        backend.phase = IdPhase::gone;
        backend.since = generation;
    }
    count_draining(pool);
}

void IdRegistry::assign_services(const Config& next, std::uint64_t generation) {
    std::set<ServiceKey> configured;
    for (const ServiceConfig& service : next.services) {
        const auto key = configured.emplace(service.name, service.vip).first;
        const auto [place, is_new] = services_.try_emplace(*key);
        if (is_new) {
            const std::uint32_t given = service_stock_.high_water();
            place->second.id = ServiceId{static_cast<std::uint16_t>(service_stock_.take())};
            if (index(place->second.id) < given) reused_.services.push_back(place->second.id);
        }
        place->second.phase = IdPhase::serving;
    }
    for (auto& [key, service] : services_) {
        if (service.phase == IdPhase::gone || configured.contains(key)) continue;
        service.phase = IdPhase::gone;
        service.since = generation;
        waits_.try_emplace(generation);
    }
}

Result<void> IdRegistry::assign(const ConfigDelta& delta, std::uint64_t generation) {
    std::vector<PoolPlan> plans;
    for (const std::size_t place : delta.changed_pools()) {
        const PoolConfig& config = delta.next().pools[place];
        const auto known = pools_.find(config.name);
        plans.push_back(
            {&config, merge(config, known == pools_.end() ? nullptr : &known->second, generation)});
    }
    if (auto room = check_room(plans, delta); !room) return room;
    for (PoolPlan& plan : plans) commit_pool(plan);
    for (const PoolConfig* pool : delta.removed_pools()) remove_pool(pool->name, generation);
    if (delta.services_changed()) assign_services(delta.next(), generation);
    return {};
}

std::size_t IdRegistry::observe_drains(const SweepView& workers) {
    std::size_t drained = 0;
    for (Pool* pool : draining_pools_) {
        for (Backend& backend : pool->backends) {
            if (backend.phase != IdPhase::draining) continue;
            if (reached_ >= backend.since && workers.active_flows(backend.id) == 0) backend.drained = true;
            drained += backend.drained ? 1 : 0;
        }
    }
    return drained;
}

IdRegistry::Progress IdRegistry::observe(const SweepView& workers) {
    Progress progress;
    if (draining_ != 0) progress.drained = observe_drains(workers);
    if (!waits_.empty()) {
        const std::vector<std::uint64_t> sweeps = workers.sweeps();
        for (auto wait = waits_.begin(); wait != waits_.end();) {
            SweepWait& state = wait->second;
            bool done = state.reached;
            for (std::size_t i = 0; done && i < sweeps.size(); ++i) done = sweeps[i] >= state.needed[i];
            if (!state.reached && reached_ >= wait->first) {
                state.reached = true;
                state.needed = sweeps;
                for (std::uint64_t& needed : state.needed) needed += 2;
            }
            if (done) free_gone(wait->first, progress);
            wait = done ? waits_.erase(wait) : std::next(wait);
        }
    }
    reached_ = workers.oldest_generation();
    return progress;
}

std::size_t IdRegistry::cut(const BackendKey& key) {
    const auto pool = pools_.find(key.pool);
    if (pool == pools_.end()) return 0;
    std::size_t ended = 0;
    for (Backend& backend : pool->second.backends) {
        if (backend.phase != IdPhase::draining || backend.name != key.name) continue;
        backend.drained = true;
        ++ended;
    }
    return ended;
}

std::vector<PoolId> IdRegistry::end_drains(std::uint64_t generation) {
    std::vector<Pool*> ended;
    for (Pool* pool : draining_pools_) {
        bool any = false;
        for (Backend& backend : pool->backends) {
            if (backend.phase != IdPhase::draining || !backend.drained) continue;
            backend.phase = IdPhase::gone;
            backend.since = generation;
            any = true;
        }
        if (any) ended.push_back(pool);
    }
    std::vector<PoolId> ids;
    for (Pool* pool : ended) {
        count_draining(*pool);
        ids.push_back(pool->id);
    }
    if (!ids.empty()) waits_.try_emplace(generation);
    return ids;
}

void IdRegistry::free_gone(std::uint64_t generation, Progress& progress) {
    const auto is_over = [&](const auto& entry) {
        return entry.phase == IdPhase::gone && entry.since == generation;
    };
    for (auto place = pools_.begin(); place != pools_.end();) {
        Pool& pool = place->second;
        for (const Backend& backend : pool.backends)
            if (is_over(backend)) {
                backend_stock_.give_back(index(backend.id));
                ++progress.freed;
            }
        std::erase_if(pool.backends, is_over);
        // A pool that is gone may outlive its backends, never the other way round: theirs went no later.
        if (is_over(pool)) {
            pool_stock_.give_back(index(pool.id));
            ++progress.freed;
            place = pools_.erase(place);
        } else {
            ++place;
        }
    }
    for (auto place = services_.begin(); place != services_.end();) {
        if (!is_over(place->second)) {
            ++place;
            continue;
        }
        service_stock_.give_back(index(place->second.id));
        ++progress.freed;
        place = services_.erase(place);
    }
}

const IdRegistry::Pool* IdRegistry::find_pool(std::string_view name) const {
    const auto pool = pools_.find(name);
    return pool == pools_.end() || pool->second.phase == IdPhase::gone ? nullptr : &pool->second;
}

bool IdRegistry::knows(std::string_view pool, BackendId id) const {
    const Pool* known = find_pool(pool);
    return known != nullptr && std::ranges::any_of(known->backends, [id](const Backend& backend) {
               return backend.id == id && !backend.is_over();
           });
}

ServiceId IdRegistry::service_id(const std::string& name, const IpAddress& vip) const {
    const auto service = services_.find({name, vip});
    return service == services_.end() || service->second.phase == IdPhase::gone ? kNoService
                                                                                : service->second.id;
}

}  // namespace weir
