#include "ctrl/health/probe_kinds.h"

#include "ctrl/health/grpc_probe.h"
#include "ctrl/health/http_probe.h"
#include "ctrl/health/icmp_probe.h"
#include "ctrl/health/tcp_probe.h"
#include "ctrl/health/udp_probe.h"

namespace weir {

std::unique_ptr<RunningProbe> ProbeKinds::make(const ProbeSpec& spec, Conclude conclude) {
    switch (spec.protocol) {
        case ProbeProtocol::tcp:
            return std::make_unique<TcpProbe>(spec, events_, std::move(conclude));
        case ProbeProtocol::http:
        case ProbeProtocol::https:
            return std::make_unique<HttpProbe>(spec, curl_, std::move(conclude));
        case ProbeProtocol::udp:
            return std::make_unique<UdpProbe>(spec, events_, std::move(conclude));
        case ProbeProtocol::grpc:
            return std::make_unique<GrpcProbe>(spec, curl_, std::move(conclude));
        case ProbeProtocol::icmp:
            break;
    }
    return std::make_unique<IcmpProbe>(spec, events_, std::move(conclude));
}

void ProbeKinds::serve(Time now) {
    events_.serve();
    curl_.serve(now);
}

std::optional<ProbeTransport::Time> ProbeKinds::wake_at() const { return curl_.wake_at(); }

}  // namespace weir
