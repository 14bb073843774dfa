// Makes the probes of every protocol, over the kernel's sockets.
#pragma once

#include "ctrl/health/curl_probes.h"
#include "ctrl/health/probe_events.h"
#include "ctrl/health/running_probe.h"

namespace weir {

class ProbeKinds final : public ProbeTransport {
  public:
    // As ProbeEvents'.
    explicit ProbeKinds(ProbePorts* ports = nullptr) : events_(ports) {}
    std::unique_ptr<RunningProbe> make(const ProbeSpec& spec, Conclude conclude) override;
    void serve(Time now) override;
    [[nodiscard]] std::optional<Time> wake_at() const override;
    // Readable while there is something to serve.
    [[nodiscard]] int fd() const { return events_.fd(); }

  private:
    ProbeEvents events_;
    CurlProbes curl_{events_};
};

}  // namespace weir
