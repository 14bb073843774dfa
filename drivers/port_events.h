// What a device reports on its own: that it wants to be reset, that its link has changed.
//
// Theory of operation. DPDK calls back on a thread of its own (interrupts) or within rte_timer_manage(),
// where nothing may be done to the device; so a callback only leaves word here, and the control core takes
// it. ENA 22.11 sets its own "reset me" for errors of the data path and then raises no event (its watchdog
// returns early): a growing error counter counts as a request too.
//
// The control thread, except what DPDK calls. The object's address must not change: DPDK keeps it.
#pragma once

#include <rte_ethdev.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace weir {

class PortEvents {
  public:
    explicit PortEvents(std::uint16_t ethdev);
    PortEvents(const PortEvents&) = delete;
    PortEvents& operator=(const PortEvents&) = delete;
    // Before the device is closed.
    ~PortEvents();

    // True once for a request; for a change of the link.
    [[nodiscard]] bool take_reset_request() noexcept { return reset_wanted_.exchange(false); }
    [[nodiscard]] bool take_link_change() noexcept { return link_changed_.exchange(false); }
    // The device's counters, about once a second.
    void look_at(std::span<const std::pair<std::string, std::uint64_t>> nic_counters);

  private:
    static int on_event(std::uint16_t ethdev, rte_eth_event_type event, void* events, void* unused);

    std::uint16_t ethdev_;
    std::atomic<bool> reset_wanted_{false}, link_changed_{false};
    bool looked_ = false;
    std::uint64_t errors_ = 0;  // when looked at last
};

}  // namespace weir
