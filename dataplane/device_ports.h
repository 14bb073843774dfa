// The ports that lie on one device, told apart by their VLAN tags. Made at start-up; read by workers.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/ids.h"
#include "dataplane/net/vlan_tags.h"

namespace weir {

class DevicePorts {
  public:
    // Precondition: no port of the device has these tags yet, and it has fewer than kMaxPorts.
    void add(PortId port, VlanTags tags) noexcept {
        ports_[count_] = port;
        tags_[count_++] = tags;
        has_vlans_ |= tags.any();
    }
    // In the file's order. The first one is the device's whenever a single port is meant.
    [[nodiscard]] std::span<const PortId> all() const noexcept { return std::span(ports_).first(count_); }
    [[nodiscard]] PortId first() const noexcept { return ports_[0]; }
    // Where false, the device's frames are all its only port's, and nobody looks for tags.
    [[nodiscard]] bool has_vlans() const noexcept { return has_vlans_; }
    // kNoPort: these tags are of none.
    [[nodiscard]] PortId find(VlanTags tags) const noexcept {
        for (std::uint32_t i = 0; i < count_; ++i)
            if (tags_[i] == tags) return ports_[i];
        return kNoPort;
    }

  private:
    std::uint32_t count_ = 0;
    bool has_vlans_ = false;
    std::array<PortId, kMaxPorts> ports_{};
    std::array<VlanTags, kMaxPorts> tags_{};
};

}  // namespace weir
