// The kernel's side of the appliance: a host interface for each port that has one, kept in step with the port
// and with the file's routes and neighbours, and the host thread that serves them all.
//
// open() comes after the ports and before the workers, which need the rings; thread().launch() after the
// workers, and thread().stop() once they have returned. The control thread.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/notify.h"
#include "drivers/host_tap.h"
#include "drivers/host_thread.h"
#include "drivers/port.h"
#include "drivers/result.h"

namespace weir {

class HostSide {
  public:
    // `ports` in the configuration's order. An error leaves nothing behind.
    [[nodiscard]] static Result<std::unique_ptr<HostSide>> open(const Config& config,
                                                                std::span<const Port> ports, unsigned workers,
                                                                Notify notify);

    [[nodiscard]] HostThread& thread() noexcept { return *thread_; }
    // The kernel's number for the host interface of the first port that has one; 0 if none has.
    [[nodiscard]] int first_interface() const noexcept;
    ~HostSide();
    HostSide(const HostSide&) = delete;
    HostSide& operator=(const HostSide&) = delete;

    // The configuration that is in force: its routes and neighbours become the kernel's, and the way of the
    // probes through VIPs (ctrl/health/probe_route.h) is there if there are any. What the kernel refuses, and
    // VIPs that it takes for its own, are warnings.
    void follow(const Config& config);
    // The port's link, MAC and MTU become the host interface's. Also says once if somebody has deleted that.
    // Cheap while nothing has changed: once a second, and when a port's link changes.
    void follow(const Port& port, bool link_up);
    // Rules of policy routing are everybody's: systemd-networkd, for one, deletes at each of its starts what
    // it has not set itself. Once a second.
    void restore_probe_rules() const;

  private:
    // What the kernel has been told of a port.
    struct Twin {
        std::string port;
        HostTap tap;
        bool carrier;
        MacBytes mac;
        std::uint16_t mtu;
        bool gone = false;
    };
    HostSide(std::vector<std::optional<Twin>> twins, Notify notify)
        : notify_(std::move(notify)), twins_(std::move(twins)) {}
    void follow_probe_rules(const Config& config);
    [[nodiscard]] bool has_twins() const;
    void warn_of_local_vips(const Config& config) const;
    void warn(const Result<void>& step) const;

    Notify notify_;
    std::vector<std::optional<Twin>> twins_;  // by port; never changes its size
    std::unique_ptr<HostThread> thread_;      // uses the taps
    // In the kernel; they outlast the interfaces. Absent: nobody knows yet what an earlier weir has left.
    std::optional<std::set<MarkRule>> rules_;
};

}  // namespace weir
