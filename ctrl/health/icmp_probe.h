// icmp: the host answers an echo request (RFC 792, RFC 4443 4.1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ctrl/health/probe_socket.h"
#include "ctrl/health/running_probe.h"

namespace weir {

class IcmpProbe final : public RunningProbe, private Watcher {
  public:
    IcmpProbe(const ProbeSpec& spec, ProbeEvents& events, Conclude conclude)
        : spec_(spec), socket_(events), conclude_(std::move(conclude)) {}
    void start() override;
    [[nodiscard]] Waiting waiting() const override { return {"no echo reply", true}; }

  private:
    void on_ready(int fd, std::uint32_t events) override;
    int open();
    int send();
    [[nodiscard]] bool is_our_reply(std::span<const std::uint8_t> packet) const;
    void end(Verdict verdict);

    const ProbeSpec& spec_;
    ProbeSocket socket_;
    Conclude conclude_;
    bool raw_ = false;
    std::array<std::uint8_t, 24> request_{};
};

}  // namespace weir
