// What the operator wrote as a port's device, taken apart and checked against what is known of the kind of
// device before DPDK sees it: DPDK's own answer would be a bare number. Start-up only; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "drivers/result.h"

namespace weir {

struct DeviceName {
    enum class Bus : std::uint8_t { pci, vdev };
    Bus bus = Bus::vdev;
    bool takes_over = false;  // written as a kernel interface alone: to be taken from the kernel
    std::string name;         // "0000:00:06.0", "net_pcap0": also the ethdev's name
    std::vector<std::pair<std::string, std::string>> arguments;

    [[nodiscard]] bool is(const char* driver) const;                   // a vdev of this driver
    [[nodiscard]] std::string argument(const std::string& key) const;  // empty: absent
    [[nodiscard]] unsigned number(const std::string& key, unsigned absent) const;
    [[nodiscard]] std::size_t count(const std::string& key) const;
    [[nodiscard]] std::string arguments_text() const;  // "a=1,b=2"
    [[nodiscard]] std::string text() const;            // "name,a=1,b=2"
    // The same with one argument set; how a sentence shows what to write.
    [[nodiscard]] DeviceName with(const std::string& key, const std::string& value) const;
};

// `queues` is the number of workers: a plain kernel interface ("eth1") becomes a net_af_packet with as many.
[[nodiscard]] Result<DeviceName> parse_device(const std::string& device, std::uint16_t queues,
                                              std::uint16_t mtu);

// What can be said without asking the device: enough queues, files and interfaces that exist, frames that
// fit.
[[nodiscard]] Result<void> check_device(const DeviceName& device, std::uint16_t queues, std::uint16_t mtu);

// Frames that the device takes from the pool when it starts and keeps: net_pcap with infinite_rx=1 loads its
// captures whole. A capture that cannot be read counts as empty; opening the port says what is wrong with it.
[[nodiscard]] std::uint32_t held_frames(const DeviceName& device);

// Largest Ethernet frame that a net_af_packet with these arguments receives whole; longer ones it cuts
// silently.
[[nodiscard]] unsigned af_packet_frame_bytes(const DeviceName& device);

}  // namespace weir
