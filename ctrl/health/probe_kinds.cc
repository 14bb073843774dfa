#include "ctrl/health/probe_kinds.h"

#include "ctrl/health/tcp_probe.h"

namespace weir {

std::unique_ptr<RunningProbe> ProbeKinds::make(const ProbeSpec& spec, Conclude conclude) {
    return std::make_unique<TcpProbe>(spec, events_, std::move(conclude));
}

void ProbeKinds::serve(Time) { events_.serve(); }

std::optional<ProbeTransport::Time> ProbeKinds::wake_at() const { return std::nullopt; }

}  // namespace weir
