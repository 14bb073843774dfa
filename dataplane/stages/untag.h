// untag: the frames of a device that has VLAN ports, without their tags, in a burst for each port.
//
// Runs behind receive, and only there: a device with a single untagged port goes past it. Exits: one burst
// for each port that has frames, or the drop vlan_tag (tags, or the lack of them, that no port of the device
// is configured for), runt_frame or segmented (no tags to be read). Who is dropped here is of no port.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/device_ports.h"
#include "dataplane/stages/drop.h"
#include "dataplane/state/worker_counters.h"
#include "dataplane/vlan_frame.h"

namespace weir {

// Calls run(Burst&) for the ports in turn; the frames of `arrived` are then all gone.
template <class Run>
void untag(Burst& arrived, const DevicePorts& ports, WorkerCounters& counters, Run&& run) noexcept {
    std::array<IndexSet, kMaxPorts> of_port{};
    std::uint32_t refused = 0;
    for (std::uint32_t i = 0; i < arrived.size; ++i) {
        const FrameTags tags = read_tags(arrived.packet[i]);
        const PortId port = tags.reason == kNotDropped ? ports.find(tags.ids) : kNoPort;
        if (port == kNoPort) [[unlikely]] {
            arrived.drop(i, tags.reason == kNotDropped ? DropReason::vlan_tag : tags.reason);
            ++refused;
            continue;
        }
        remove_tags(arrived.packet[i], tags.bytes);
        of_port[index(port)].add(i);
    }
    for (const PortId port : ports.all()) {
        if (of_port[index(port)].empty()) continue;
        Burst burst(port);
        of_port[index(port)].for_each(
            [&](std::uint32_t i) { burst.packet[burst.size++] = arrived.packet[i]; });
        run(burst);
    }
    counters.received.add(refused);
    drop(arrived, counters);
}

}  // namespace weir
