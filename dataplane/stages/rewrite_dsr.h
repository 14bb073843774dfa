// mode dsr: the frame goes to the backend's MAC, from the port's; not one other byte changes, link padding
// included.
#pragma once

#include <cstring>

#include "dataplane/burst.h"
#include "dataplane/packet.h"

namespace weir {

inline void rewrite_dsr(const Burst& burst, const IndexList& packets) noexcept {
    for (const std::uint32_t i : packets) {
        // Template: destination and source MAC; the EtherType stays the packet's own.
        std::memcpy(frame_start(burst.packet[i]), burst.backend[i]->header.data(), 2 * sizeof(MacAddress));
    }
}

}  // namespace weir
