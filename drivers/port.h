// A port: a DPDK ethdev, configured, started, with one receive and one transmit queue per worker; or one more
// VLAN of such a device.
//
// What makes or ends a device (open, adopt, reset, close, reopen) runs on the main thread (ENA's watchdog
// timer lands on the lcore that starts the port, and rte_timer_manage() must run there), and ends only a
// device that no worker polls: ctrl/port_keeper.h sees to that. Statistics: control core only, about once a
// second: a device may answer through its admin queue. Queues: each belongs to one worker.
#pragma once

#include <rte_ethdev.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "drivers/kernel_takeover.h"
#include "drivers/mbuf_pool.h"
#include "drivers/port_events.h"
#include "drivers/port_spec.h"
#include "drivers/result.h"
#include "drivers/rss.h"
#include "drivers/rx_queue.h"
#include "drivers/tx_queue.h"

namespace weir {

struct DeviceName;

// How the device spreads frames over its queues. Where `matches_software` is false, nobody can foretell the
// queue of a frame: whoever receives it computes rss_queue_of_frame(key, reta) and hands it over.
struct RssInfo {
    bool enabled = false;           // the device hashes TCP and UDP
    bool key_settable = false;      // it took kRssKey, and says so
    bool matches_software = false;  // enabled, `key` is what the device uses, `reta` too
    ToeplitzKey key = kRssKey;
    RetaTable reta{1};
};

// Since the port was opened.
struct PortStats {
    std::uint64_t rx_packets = 0, tx_packets = 0;
    std::uint64_t rx_bytes = 0, tx_bytes = 0;
    std::uint64_t rx_missed = 0;   // the device had no free descriptor: workers too slow
    std::uint64_t rx_no_mbuf = 0;  // the pool was empty
    std::uint64_t rx_errors = 0, tx_errors = 0;
};

class Port {
  public:
    static Result<Port> open(const PortSpec& spec, MbufPools& pools);
    // The same for an ethdev that exists already (rte_eth_from_rings); spec.device is not looked at.
    static Result<Port> adopt(std::uint16_t ethdev, const PortSpec& spec, MbufPools& pools);
    // Another VLAN of the device that `carrier` has opened: index, name and mtu are its own, all else is the
    // carrier's, which must outlive its use. Opens nothing and closes nothing. One worker takes the same
    // queue of each.
    static Port on_device_of(const Port& carrier, const PortSpec& spec);

    Port(Port&& other) noexcept;
    Port& operator=(Port&&) = delete;
    // Stops and closes the device. Every worker must have stopped polling it.
    ~Port();

    // The device itself is there and wants to begin anew: reset, configured as before (queues, RSS, MAC),
    // started. All queues may be taken again. Where the driver cannot, or after an error: close() and
    // reopen().
    [[nodiscard]] Result<void> reset(MbufPools& pools);
    // The device is gone, or is to be made anew. Statistics go on from where they were.
    void close() noexcept;
    // As open() does, after close(): the ethdev, the MAC and what the device can do may be others. No mtu is
    // above `most`. An error leaves the port closed. Precondition: not adopted.
    [[nodiscard]] Result<void> reopen(std::uint16_t most, MbufPools& pools);
    // The device that this is a VLAN of was reset or opened again: takes over what is the carrier's. All
    // queues may be taken again.
    void follow_carrier(const Port& carrier);
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    // Precondition: is_open().
    [[nodiscard]] PortEvents& events() noexcept { return *events_; }
    // The device is a kernel interface that weir takes over, and sets up where it is down.
    [[nodiscard]] bool takes_over() const noexcept { return takes_over_; }
    // An interface that was down goes on where it was when it is up again; else the device must be made anew.
    [[nodiscard]] bool outlives_down() const noexcept { return driver_ == "net_af_xdp"; }
    // What it sits on, where that is an interface of the kernel (net_af_packet, net_af_xdp); else empty.
    [[nodiscard]] const std::string& kernel_interface() const noexcept { return kernel_interface_; }

    [[nodiscard]] unsigned index() const noexcept { return spec_.index; }
    [[nodiscard]] const std::string& name() const noexcept { return spec_.name; }
    [[nodiscard]] std::uint16_t ethdev() const noexcept { return ethdev_; }
    [[nodiscard]] const MacBytes& mac() const noexcept { return mac_; }
    [[nodiscard]] std::uint16_t mtu() const noexcept { return std::min(spec_.mtu, most_mtu_); }
    // Of the device: the largest of its ports'.
    [[nodiscard]] std::uint16_t device_mtu() const noexcept {
        return std::min(std::max(spec_.mtu, spec_.device_mtu), most_mtu_);
    }
    // What a kernel interface below must have for that. Beside its MTU the kernel carries one tag, of 802.1Q
    // (packet_extra_vlan_len_allowed).
    [[nodiscard]] std::uint16_t interface_mtu() const noexcept {
        return static_cast<std::uint16_t>(device_mtu() +
                                          (spec_.tag_bytes <= RTE_VLAN_HLEN ? 0 : spec_.tag_bytes));
    }
    // False for all ports of a device but the one that has opened it.
    [[nodiscard]] bool carries_device() const noexcept { return carries_device_; }
    [[nodiscard]] std::uint16_t queues() const noexcept { return spec_.queues; }
    [[nodiscard]] const RssInfo& rss() const noexcept { return rss_; }
    [[nodiscard]] const std::string& driver() const noexcept { return driver_; }  // "net_ena"
    // send() takes frames of more than one mbuf; where false, a chain must be copied into one first.
    [[nodiscard]] bool can_send_chains() const noexcept { return can_send_chains_; }
    // Frames of up to mtu() may arrive as chains.
    [[nodiscard]] bool may_receive_chains() const noexcept { return may_receive_chains_; }
    // The device sets RTE_MBUF_F_RX_IP_CKSUM_*; where false, software must check IPv4 header checksums.
    [[nodiscard]] bool checks_ipv4_checksums() const noexcept { return checks_ipv4_checksums_; }
    // Every queue can end a sleep (rx_wait.h). Only if the PortSpec asked for it.
    [[nodiscard]] bool has_rx_interrupts() const noexcept { return has_rx_interrupts_; }
    // The pool that this port receives into, for frames that weir itself makes.
    [[nodiscard]] rte_mempool* pool() const noexcept { return pool_; }
    // Sentences for the log: what this device lacks, and what weir does instead.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

    // What DPDK logged while it set the port up, at warning level and above: for a debug log.
    [[nodiscard]] const std::string& driver_log() const noexcept { return driver_log_; }

    // Each queue can be taken once: two workers on one queue would corrupt it. Precondition: not taken
    // before.
    [[nodiscard]] RxQueue rx_queue(std::uint16_t queue);
    [[nodiscard]] TxQueue tx_queue(std::uint16_t queue);

    [[nodiscard]] bool link_up() const noexcept;
    [[nodiscard]] PortStats stats() const noexcept;
    // The device's own counters (xstats) by names that Prometheus takes; without those of PortStats and
    // without gauges.
    [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> nic_counters() const;

  private:
    friend class PortSetup;
    Port(PortSpec spec, std::uint16_t ethdev, bool owned);
    // Finds out what spec_.device is, and makes that; an error leaves the port closed.
    [[nodiscard]] Result<void> make(MbufPools& pools);
    [[nodiscard]] Result<void> make_device(const DeviceName& device, MbufPools& pools);
    // For an interface that was taken over. The error is a clause.
    [[nodiscard]] tl::expected<void, std::string> make_xdp(const std::string& interface, MbufPools& pools);
    void tell_of_takeover(const std::string& why_not_xdp);
    [[nodiscard]] Result<void> take_over(const DeviceName& device);
    [[nodiscard]] Result<void> set_up(const DeviceName* device, MbufPools& pools);

    PortSpec spec_;
    std::uint16_t most_mtu_ = UINT16_MAX;  // as reopen() was told
    std::uint16_t ethdev_;
    bool owned_;         // this object probed the device and removes it
    bool open_ = false;  // ethdev_ is this port's
    bool carries_device_ = true;
    bool started_ = false;
    bool promiscuous_ = false;
    std::string driver_;
    std::string kernel_interface_;
    bool takes_over_ = false;
    unsigned xdp_index_ = 0;                    // the interface's number when AF_XDP was tried last
    std::vector<int> xdp_descriptors_;          // of the device that is open
    std::unique_ptr<KernelTakeover> takeover_;  // lasts beyond close(): the kernel is to stay silent
    std::unique_ptr<PortEvents> events_;        // while open and set up
    PortStats closed_stats_;                    // of the devices that this port had before
    MacBytes mac_{};
    RssInfo rss_;
    bool can_send_chains_ = false;
    bool may_receive_chains_ = false;
    bool checks_ipv4_checksums_ = false;
    bool has_rx_interrupts_ = false;
    rte_mempool* pool_ = nullptr;
    std::vector<std::string> notes_;
    std::string driver_log_;
    std::vector<bool> rx_taken_, tx_taken_;
};

}  // namespace weir
