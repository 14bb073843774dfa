// The shape of a probe under way, and of what makes them: the seam between the scheduler, which knows times
// and subscribers, and the protocols, which know sockets.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ctrl/health/probe.h"
#include "ctrl/health/probe_spec.h"

namespace weir {

struct Verdict {
    // Absent: this machine could not ask (no descriptor, no memory), which says nothing about the backend.
    std::optional<ProbeOutcome> outcome;
    std::string answer;
};

// What a probe waits for, in words that "within 2s" completes.
struct Waiting {
    std::string_view what = "no answer";
    bool heard_nothing = true;  // not one packet came back
};

// Concludes once, and is destroyed later, but never by its own function. Destroying it ends it at any time.
class RunningProbe {
  public:
    virtual ~RunningProbe() = default;
    virtual void start() = 0;
    [[nodiscard]] virtual Waiting waiting() const { return {}; }
};

using Conclude = std::function<void(Verdict)>;

class ProbeTransport {
  public:
    using Time = std::chrono::steady_clock::time_point;

    virtual ~ProbeTransport() = default;
    // `spec` outlives the probe.
    virtual std::unique_ptr<RunningProbe> make(const ProbeSpec& spec, Conclude conclude) = 0;
    // Takes in what has come; does not wait.
    virtual void serve(Time now) = 0;
    // When serve() is wanted even if nothing comes.
    [[nodiscard]] virtual std::optional<Time> wake_at() const = 0;
};

}  // namespace weir
