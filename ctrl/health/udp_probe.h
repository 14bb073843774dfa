// udp: the server answers the payload with a datagram that begins as expected.
#pragma once

#include "ctrl/health/probe_socket.h"
#include "ctrl/health/running_probe.h"

namespace weir {

class UdpProbe final : public RunningProbe, private Watcher {
  public:
    UdpProbe(const ProbeSpec& spec, ProbeEvents& events, Conclude conclude)
        : spec_(spec), socket_(events), conclude_(std::move(conclude)) {}
    void start() override;

  private:
    void on_ready(int fd, std::uint32_t events) override;
    int send();
    void end(Verdict verdict);

    const ProbeSpec& spec_;
    ProbeSocket socket_;
    Conclude conclude_;
};

}  // namespace weir
