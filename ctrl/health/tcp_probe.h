// tcp: the server's kernel completes the handshake.
#pragma once

#include "ctrl/health/probe_socket.h"
#include "ctrl/health/running_probe.h"

namespace weir {

class TcpProbe final : public RunningProbe, private Watcher {
  public:
    TcpProbe(const ProbeSpec& spec, ProbeEvents& events, Conclude conclude)
        : spec_(spec), socket_(events), conclude_(std::move(conclude)) {}
    void start() override;

  private:
    void on_ready(int fd, std::uint32_t events) override;
    int dial();

    const ProbeSpec& spec_;
    ProbeSocket socket_;
    Conclude conclude_;
};

}  // namespace weir
