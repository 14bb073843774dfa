#include "ctrl/health/prober.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "ctrl/health/probe_engine.h"
#include "ctrl/health/probe_kinds.h"

namespace weir {
namespace {

// More never helps: a core does not bear 10,000 probes a second, and few last for seconds.
constexpr rlim_t kMostDescriptors = 65'536;

std::size_t descriptors_for_probes() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
    const rlim_t wanted = std::min(limit.rlim_max, kMostDescriptors);
    if (limit.rlim_cur < wanted) {
        const rlimit raised{.rlim_cur = wanted, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return static_cast<std::size_t>(std::min(limit.rlim_cur, kMostDescriptors) / 4 * 3);
}

ProberOptions complete(ProberOptions options) {
    if (options.most_in_flight == 0) options.most_in_flight = descriptors_for_probes();
    return options;
}

}  // namespace

struct Prober::State {
    State(ControlLoop& loop, ProberOptions options)
        : kinds(options.ports),
          engine(kinds, std::chrono::steady_clock::now, complete(std::move(options))),
          timer(loop.timer([this] { turn(); })) {
        loop.on_readable(kinds.fd(), [this] { turn(); });
    }
    void turn() {
        engine.turn();
        set_timer();
    }
    void set_timer() {
        const auto next = engine.next_turn();
        if (!next) {
            timer.clear();
        } else {
            timer.set(*next - std::chrono::steady_clock::now());
        }
    }

    ProbeKinds kinds;
    ProbeEngine engine;
    ControlLoop::Timer& timer;
};

Prober::Prober(ControlLoop& loop, ProberOptions options)
    : state_(std::make_unique<State>(loop, std::move(options))) {}

Prober::~Prober() { state_->timer.clear(); }

ProbeId Prober::add(const ProbeSpec& spec, Duration interval, std::string_view owner, Callback callback) {
    const ProbeId id = state_->engine.add(spec, interval, owner, std::move(callback));
    state_->set_timer();
    return id;
}

void Prober::remove(ProbeId id) { state_->engine.remove(id); }

void Prober::probe_now(ProbeId id) {
    state_->engine.probe_now(id);
    state_->set_timer();
}

void Prober::forget_owner(std::string_view owner) { state_->engine.forget_owner(owner); }

ProberStatistics Prober::statistics() const { return state_->engine.statistics(); }

}  // namespace weir
