// VipPresence of a running appliance: its announcements leave by the host thread, its routes are the
// kernel's.
#pragma once

#include <functional>

#include "ctrl/announce/vip_presence.h"
#include "ctrl/notify.h"
#include "drivers/host_thread.h"

namespace weir {

struct PresenceSpec {
    std::size_t ports = 0;
    std::function<MacAddress(PortId)>
        mac;                     // asked for each announcement: a device may come back with another
    HostThread* host = nullptr;  // outlives the VipPresence
    int route_interface = 0;     // the kernel's number of the interface for routes; 0: none
    Notify notify;
};

// Control thread, in the network namespace of the host interfaces. Error: no netlink socket.
[[nodiscard]] Result<VipPresence> start_presence(const PresenceSpec& spec);

}  // namespace weir
