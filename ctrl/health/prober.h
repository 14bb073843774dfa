// Probes backends, each at its interval, on the control core's loop. It knows neither thresholds nor states.
//
// Everything on the thread that runs the loop. Callbacks come from the loop, never from within add(),
// remove() or probe_now(), and may call all of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ctrl/config/config.h"
#include "ctrl/control_loop.h"
#include "ctrl/health/probe.h"
#include "ctrl/health/probe_spec.h"
#include "ctrl/health/prober_statistics.h"
#include "dataplane/net/address.h"
#include "dataplane/state/probe_ports.h"

namespace weir {

enum class ProbeId : std::uint64_t {};

struct ProberOptions {
    // Probes under way at once; each has a descriptor. 0: three quarters of RLIMIT_NOFILE, whose soft limit
    // is raised as far as the hard one allows.
    std::size_t most_in_flight = 0;
    // Asked when nothing came back, for words in place of "no answer within 2s": the kernel may know that the
    // backend's neighbour entry has failed long before the probe's own socket hears of it. Empty: no idea.
    std::function<std::string(const IpAddress&)> explain_silence;
    // Where probes through a VIP say whom they are for; null: they cannot be made. Outlives the prober.
    ProbePorts* ports = nullptr;
};

class Prober {
  public:
    using Callback = std::function<void(const ProbeResult&)>;

    // `loop` outlives this and is not run after it.
    explicit Prober(ControlLoop& loop, ProberOptions options = {});
    ~Prober();
    Prober(const Prober&) = delete;
    Prober& operator=(const Prober&) = delete;

    // From now on, every `interval`: the first at once (of many that are added together, within an interval),
    // the following ones on a grid of times that is the spec's own. Subscriptions to the same spec and
    // interval share one probe. `owner`, a pool's name, is whom the statistics count it for.
    ProbeId add(const ProbeSpec& spec, Duration interval, std::string_view owner, Callback callback);
    // Its callback is not called any more. An id that is unknown is ignored.
    void remove(ProbeId id);
    // Brings the next probe forward to now, or to 100 ms after the last one began.
    void probe_now(ProbeId id);

    // Drops the counters of an owner that has no subscription left.
    void forget_owner(std::string_view owner);
    [[nodiscard]] ProberStatistics statistics() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weir
