// Whom a health probe through a VIP (via = "vip") is for: the kernel's own socket sends it to the VIP, so
// nothing in its packets names the backend but their source port, which stands here.
//
// Threads. set() belongs to the control core, which calls it before it lets the socket connect; find() to
// any worker. Entries are single relaxed words: the kernel and the ring of the host thread lie between the
// write and the packets that need it. An entry stays when its socket is closed: what the kernel has yet to
// say, a RST above all, goes where the rest went. Nobody else's packets can meet it (kProbeGatewayMac).
#pragma once

#include <array>
#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/tables/forwarding_mode.h"

namespace weir {

// The next hop of such probes as the kernel knows it. No wire ever sees it: a frame to it is a worker's to
// rewrite. Locally administered (IEEE 802 8.2.2), "weir" and 1.
inline constexpr MacAddress kProbeGatewayMac{{0x02, 'w', 'e', 'i', 'r', 0x01}};

// The backend, and the mode of the service that the probe stands for.
struct ProbeWay {
    BackendId backend = kNoBackend;
    ForwardingMode mode{};
    auto operator<=>(const ProbeWay&) const = default;
};

class ProbePorts {
  public:
    // 512 KiB, zeroed.
    ProbePorts() : entries_(std::make_unique<Entries>()) {}

    void set(IpProtocol protocol, std::uint16_t port, ProbeWay way) noexcept {
        const auto mode = static_cast<std::uint32_t>(way.mode);
        entry(protocol, port)
            .store(kPresent | mode << kModeShift | index(way.backend), std::memory_order_relaxed);
    }
    // Precondition: the protocol is TCP or UDP.
    [[nodiscard]] std::optional<ProbeWay> find(IpProtocol protocol, std::uint16_t port) const noexcept {
        const std::uint32_t word = entry(protocol, port).load(std::memory_order_relaxed);
        if (word == 0) return std::nullopt;
        return ProbeWay{BackendId{word & kMaxBackends},
                        static_cast<ForwardingMode>((word & ~kPresent) >> kModeShift)};
    }

  private:
    static constexpr std::uint32_t kPresent = 1u << 31, kModeShift = 20;
    static_assert(kMaxBackends == (1u << kModeShift) - 1 && kForwardingModes <= 1u << (31 - kModeShift));
    using Entries = std::array<std::array<std::atomic<std::uint32_t>, 65'536>, 2>;  // TCP, UDP

    [[nodiscard]] std::atomic<std::uint32_t>& entry(IpProtocol protocol, std::uint16_t port) const noexcept {
        return (*entries_)[protocol == IpProtocol::udp ? 1 : 0][port];
    }
    std::unique_ptr<Entries> entries_;
};

}  // namespace weir
