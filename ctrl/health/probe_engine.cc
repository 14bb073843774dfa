#include "ctrl/health/probe_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ctrl/config/setting_text.h"

namespace weir {
namespace {

// So that a turn ends within a few milliseconds; what is left is due in the next.
constexpr int kMostBeginnings = 64;
constexpr std::chrono::milliseconds kLate{50};

}  // namespace

ProbeEngine::ProbeEngine(ProbeTransport& transport, Clock clock, ProberOptions options)
    : transport_(transport),
      clock_(std::move(clock)),
      explain_silence_(std::move(options.explain_silence)),
      schedule_(options.most_in_flight, clock_()) {}

ProbeId ProbeEngine::add(const ProbeSpec& spec, Duration interval, std::string_view owner,
                         Callback callback) {
    const auto [place, is_new] = targets_.try_emplace(Key{spec, interval});
    Target& target = place->second;
    if (is_new) {
        target.id = TargetId{++last_target_};
        by_id_.emplace(target.id, &*place);
        schedule_.add(target.id, {hash_of(spec), interval, spec.timeout}, clock_());
    }
    auto known = owners_.find(owner);
    if (known == owners_.end()) known = owners_.try_emplace(std::string(owner)).first;
    ++known->second.subscriptions;
    const ProbeId id{++last_subscription_};
    target.subscribers.push_back(id);
    subscriptions_.emplace(
        id, Subscription{&*place, &known->second, std::make_shared<const Callback>(std::move(callback))});
    return id;
}

void ProbeEngine::remove(ProbeId id) {
    const auto found = subscriptions_.find(id);
    if (found == subscriptions_.end()) return;
    Targets::value_type* const place = found->second.target;
    --found->second.owner->subscriptions;
    subscriptions_.erase(found);
    std::erase(place->second.subscribers, id);
    if (!place->second.subscribers.empty()) return;
    schedule_.remove(place->second.id);
    by_id_.erase(place->second.id);
    targets_.erase(targets_.find(place->first));
}

void ProbeEngine::probe_now(ProbeId id) {
    const auto found = subscriptions_.find(id);
    if (found != subscriptions_.end()) schedule_.bring_forward(found->second.target->second.id, clock_());
}

void ProbeEngine::forget_owner(std::string_view owner) {
    const auto found = owners_.find(owner);
    if (found != owners_.end() && found->second.subscriptions == 0) owners_.erase(found);
}

ProberStatistics ProbeEngine::statistics() {
    ProberStatistics result = totals_;
    for (const auto& [name, owner] : owners_) result.owners.emplace(name, owner.counts);
    result.stretch = schedule_.stretch(clock_());
    result.in_flight = schedule_.in_flight();
    result.most_in_flight = schedule_.most_in_flight();
    result.targets = targets_.size();
    result.subscriptions = subscriptions_.size();
    return result;
}

void ProbeEngine::turn() {
    transport_.serve(clock_());
    tell_concluded();
    judge_timeouts();
    tell_concluded();
    for (int i = 0; i < kMostBeginnings; ++i) {
        const auto next = schedule_.begin_next(clock_());
        if (!next) break;
        ++totals_.probes;
        if (next->lateness > kLate) ++totals_.late;
        totals_.lateness.record(next->lateness);
        begin(next->id);
    }
    tell_concluded();
}

std::optional<ProbeEngine::Time> ProbeEngine::next_turn() {
    const auto mine = schedule_.wake_at(clock_()), theirs = transport_.wake_at();
    if (!mine || !theirs) return mine ? mine : theirs;
    return std::min(*mine, *theirs);
}

void ProbeEngine::begin(TargetId id) {
    auto& [key, target] = *by_id_.at(id);
    target.begun = clock_();
    target.probe =
        transport_.make(key.spec, [this, id](Verdict verdict) { conclude(id, std::move(verdict)); });
    target.probe->start();
}

void ProbeEngine::conclude(TargetId id, Verdict verdict) {
    Target& target = by_id_.at(id)->second;
    if (target.verdict) return;
    target.took = clock_() - target.begun;
    target.verdict = std::move(verdict);
    concluded_.push_back(id);
}

void ProbeEngine::judge_timeouts() {
    const Time now = clock_();
    while (const auto id = schedule_.expired(now)) {
        auto& [key, target] = *by_id_.at(*id);
        const Waiting waiting = target.probe->waiting();
        std::string answer;
        if (waiting.heard_nothing && explain_silence_) answer = explain_silence_(key.spec.address);
        if (answer.empty()) answer = fmt::format("{} within {}", waiting.what, to_text(key.spec.timeout));
        conclude(*id, {ProbeOutcome::timeout, std::move(answer)});
        schedule_.ended(*id, now);
    }
}

void ProbeEngine::tell_concluded() {
    // Callbacks conclude nothing: the list does not grow meanwhile.
    for (const TargetId id : concluded_) tell(id);
    concluded_.clear();
}

void ProbeEngine::tell(TargetId id) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) return;  // an earlier callback has removed it
    Target& target = found->second->second;
    target.probe.reset();
    schedule_.ended(id, clock_());
    Verdict verdict = std::move(*std::exchange(target.verdict, std::nullopt));
    if (!verdict.outcome) {
        ++totals_.unsent;
        totals_.unsent_why = std::move(verdict.answer);
        return;
    }
    const ProbeResult result{*verdict.outcome, std::move(verdict.answer), target.took};
    // From here on `target` may go.
    const std::vector<ProbeId> subscribers = target.subscribers;
    count(subscribers, result);
    for (const ProbeId subscriber : subscribers) {
        const auto known = subscriptions_.find(subscriber);
        if (known == subscriptions_.end()) continue;
        const auto callback = known->second.callback;  // outlives the subscription that it may end
        (*callback)(result);
    }
}

void ProbeEngine::count(const std::vector<ProbeId>& subscribers, const ProbeResult& result) {
    for (const ProbeId subscriber : subscribers) {
        ProberStatistics::Owner& counts = subscriptions_.at(subscriber).owner->counts;
        ++counts.results[static_cast<std::size_t>(result.outcome)];
        counts.duration.record(result.took);
    }
}

}  // namespace weir
