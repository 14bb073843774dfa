// The steps from a probed ethdev to a running port, in order. Only port.cc calls this; main thread.
#pragma once

#include <string>

#include "drivers/device_name.h"
#include "drivers/port.h"

namespace weir {

// What a driver does not say about itself through rte_eth_dev_info. Facts: DPDK 22.11, drivers/net/*.
struct DeviceTraits {
    const char* driver;
    bool takes_every_frame;  // no MAC filter: whatever is on the wire arrives
    bool spreads_by_rss;     // false: claims RSS or not, its queues do not follow the hash
    bool chains_unasked;     // delivers long frames as chains without the SCATTER capability
    bool hides_its_mtu;      // states a maximum below what it carries; check_device knows better
};
[[nodiscard]] const DeviceTraits& traits_of(const std::string& driver) noexcept;

class PortSetup {
  public:
    PortSetup(Port& port, MbufPools& pools) noexcept : port_(port), pools_(pools) {}

    // Leaves the port started, or says why not.
    [[nodiscard]] Result<void> run(const DeviceName* device);

  private:
    [[nodiscard]] Result<void> bring_up(const DeviceName* device);
    [[nodiscard]] Result<void> read_device();
    [[nodiscard]] Result<void> check_queues() const;
    [[nodiscard]] Result<void> choose_pool(const DeviceName* device);
    [[nodiscard]] static std::uint16_t room_for(unsigned bytes);
    [[nodiscard]] Result<void> configure();
    [[nodiscard]] Result<void> set_up_queues();
    [[nodiscard]] Result<void> set_mtu(const DeviceName* device);
    [[nodiscard]] Result<void> retry_mtu();
    [[nodiscard]] Result<void> set_mac();
    [[nodiscard]] Result<void> accept_frames();
    [[nodiscard]] Result<void> start();
    void learn_rx_interrupts();
    void learn_rss();
    void learn_reta();

    void note(const std::string& sentence) {
        port_.notes_.push_back("port " + port_.name() + ": " + sentence);
    }
    [[nodiscard]] auto refuse(const std::string& sentence) const {
        return operator_error("port " + port_.name() + ": " + sentence);
    }
    [[nodiscard]] auto fail(const std::string& what, int code) const;
    [[nodiscard]] rte_eth_conf wanted_configuration();
    // Of the largest port on the device, and what VLAN tags add to it.
    [[nodiscard]] std::uint16_t mtu() const { return port_.device_mtu(); }
    [[nodiscard]] std::uint16_t mtu_with_tags() const {
        return static_cast<std::uint16_t>(mtu() + port_.spec_.tag_bytes);
    }
    [[nodiscard]] std::string mtu_text() const {
        return std::to_string(mtu()) +
               (port_.spec_.tag_bytes == 0
                    ? ""
                    : " and " + std::to_string(port_.spec_.tag_bytes) + " bytes of VLAN tags");
    }

    Port& port_;
    MbufPools& pools_;
    rte_eth_dev_info info_{};
    const DeviceTraits* traits_ = nullptr;
    bool asks_for_interrupts_ = false;
    int mtu_code_ = 0;  // what the device answered to its MTU
    std::uint64_t rss_types_ = 0;
    std::vector<std::uint8_t> rss_key_;
};

}  // namespace weir
