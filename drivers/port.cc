#include "drivers/port.h"

#include <net/if.h>
#include <rte_debug.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstring>
#include <thread>

#include "drivers/device_name.h"
#include "drivers/interface_state.h"
#include "drivers/kernel_device.h"
#include "drivers/log_capture.h"
#include "drivers/port_setup.h"

namespace weir {
namespace {

Error probe_error(const PortSpec& spec, const DeviceName& device, int code, const LogCapture& log) {
    const std::string port = "port " + spec.name + ": ";
    if (device.bus == DeviceName::Bus::pci)
        return {port + "DPDK cannot take PCI device " + device.name +
                    ": is it there, and bound to vfio-pci or igb_uio (`dpdk-devbind.py --status`)?" +
                    log.quote(),
                Error::Cause::operator_mistake};
    // Many drivers return -1, which is -EPERM, for whatever goes wrong: it means that only where it can.
    const bool may_not = code == -EACCES || (code == -EPERM && geteuid() != 0);
    if (may_not || log.text().find("not permitted") != std::string::npos)
        return {port + "opening device = \"" + device.text() +
                    "\" is not permitted: run as root, or with the capabilities NET_ADMIN and NET_RAW" +
                    log.quote_first(),
                Error::Cause::operator_mistake};
    return {port + "DPDK cannot make device = \"" + device.text() +
                "\": is the driver's name right, its package installed (librte-net-...), and are its "
                "arguments those "
                "of the driver?" +
                log.quote_first(),
            Error::Cause::operator_mistake};
}

// Makes the ethdev appear, unless EAL has found it on its own (PCI devices that it was told to take).
Result<bool> probe(const PortSpec& spec, const DeviceName& device) {
    std::uint16_t present = 0;
    if (rte_eth_dev_get_port_by_name(device.name.c_str(), &present) == 0) {
        if (device.bus == DeviceName::Bus::pci) return false;
        return operator_error("port " + spec.name + ": another port has device " + device.name +
                              " already: give this one another name, such as " + device.name + "b");
    }
    const LogCapture log;
    const char* bus = device.bus == DeviceName::Bus::pci ? "pci" : "vdev";
    const int code = rte_eal_hotplug_add(bus, device.name.c_str(), device.arguments_text().c_str());
    if (code != 0) return tl::make_unexpected(probe_error(spec, device, code, log));
    return true;
}

// Already in PortStats under names of our own.
constexpr std::array kBasicCounters = {"rx_good_packets", "tx_good_packets",          "rx_good_bytes",
                                       "tx_good_bytes",   "rx_missed_errors",         "rx_errors",
                                       "tx_errors",       "rx_mbuf_allocation_errors"};

// False also when the interface is gone.
bool interface_is_running(const std::string& interface) noexcept {
    const int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0) return false;
    ifreq request{};
    interface.copy(request.ifr_name, IFNAMSIZ - 1);
    const bool known = ioctl(socket_fd, SIOCGIFFLAGS, &request) == 0;
    close(socket_fd);
    return known && (request.ifr_flags & IFF_UP) != 0 && (request.ifr_flags & IFF_RUNNING) != 0;
}

std::string text_of(const MacBytes& mac) {
    char text[RTE_ETHER_ADDR_FMT_SIZE];
    rte_ether_addr address;
    std::memcpy(address.addr_bytes, mac.data(), mac.size());
    rte_ether_format_addr(text, sizeof(text), &address);
    return text;
}

constexpr std::chrono::milliseconds kXdpRelease{50};

bool is_gauge(const std::string& name) { return name.ends_with("_available_desc"); }

std::string metric_name(const char* name) {
    std::string clean;
    for (; *name != '\0'; ++name) {
        const auto letter = static_cast<unsigned char>(*name);
        clean += std::isalnum(letter) != 0 ? static_cast<char>(std::tolower(letter)) : '_';
    }
    return clean;
}

}  // namespace

Port::Port(PortSpec spec, std::uint16_t ethdev, bool owned)
    : spec_(std::move(spec)), ethdev_(ethdev), owned_(owned) {}

Port::Port(Port&& other) noexcept
    : spec_(std::move(other.spec_)),
      most_mtu_(other.most_mtu_),
      ethdev_(other.ethdev_),
      owned_(other.owned_),
      open_(std::exchange(other.open_, false)),
      carries_device_(other.carries_device_),
      started_(other.started_),
      promiscuous_(other.promiscuous_),
      driver_(std::move(other.driver_)),
      kernel_interface_(std::move(other.kernel_interface_)),
      takes_over_(other.takes_over_),
      xdp_index_(other.xdp_index_),
      xdp_descriptors_(std::move(other.xdp_descriptors_)),
      takeover_(std::move(other.takeover_)),
      events_(std::move(other.events_)),
      closed_stats_(other.closed_stats_),
      mac_(other.mac_),
      rss_(std::move(other.rss_)),
      can_send_chains_(other.can_send_chains_),
      may_receive_chains_(other.may_receive_chains_),
      checks_ipv4_checksums_(other.checks_ipv4_checksums_),
      has_rx_interrupts_(other.has_rx_interrupts_),
      pool_(other.pool_),
      notes_(std::move(other.notes_)),
      driver_log_(std::move(other.driver_log_)),
      rx_taken_(std::move(other.rx_taken_)),
      tx_taken_(std::move(other.tx_taken_)) {}

Port::~Port() { close(); }

void Port::close() noexcept {
    if (!open_) return;
    closed_stats_ = stats();
    events_.reset();
    const LogCapture log;  // drivers complain of an interface that is gone
    rte_eth_dev_info info{};
    const bool known = rte_eth_dev_info_get(ethdev_, &info) == 0;
    // An AF_PACKET port would leave the kernel's interface listening to everything.
    if (promiscuous_) rte_eth_promiscuous_disable(ethdev_);
    if (started_) rte_eth_dev_stop(ethdev_);
    rte_eth_dev_close(ethdev_);
    close_xdp_descriptors(std::exchange(xdp_descriptors_, {}));
    if (owned_ && known && info.device != nullptr) rte_dev_remove(info.device);
    open_ = started_ = promiscuous_ = false;
}

Result<Port> Port::open(const PortSpec& spec, MbufPools& pools) {
    Port port(spec, 0, true);
    if (auto made = port.make(pools); !made) return tl::make_unexpected(made.error());
    return port;
}

Result<Port> Port::adopt(std::uint16_t ethdev, const PortSpec& spec, MbufPools& pools) {
    Port port(spec, ethdev, false);
    port.open_ = true;
    if (auto ready = port.set_up(nullptr, pools); !ready) return tl::make_unexpected(ready.error());
    return port;
}

Port Port::on_device_of(const Port& carrier, const PortSpec& spec) {
    Port port(spec, carrier.ethdev_, false);
    port.carries_device_ = false;
    port.follow_carrier(carrier);
    return port;
}

void Port::follow_carrier(const Port& carrier) {
    ethdev_ = carrier.ethdev_;
    most_mtu_ = carrier.most_mtu_;
    driver_ = carrier.driver_;
    kernel_interface_ = carrier.kernel_interface_;
    mac_ = carrier.mac_;
    rss_ = carrier.rss_;
    can_send_chains_ = carrier.can_send_chains_;
    may_receive_chains_ = carrier.may_receive_chains_;
    checks_ipv4_checksums_ = carrier.checks_ipv4_checksums_;
    has_rx_interrupts_ = carrier.has_rx_interrupts_;
    pool_ = carrier.pool_;
    rx_taken_.assign(spec_.queues, false);
    tx_taken_.assign(spec_.queues, false);
}

Result<void> Port::reopen(std::uint16_t most, MbufPools& pools) {
    RTE_VERIFY(!open_ && carries_device_);
    most_mtu_ = most;
    return make(pools);
}

Result<void> Port::reset(MbufPools& pools) {
    const PortStats before = stats();
    if (promiscuous_) rte_eth_promiscuous_disable(ethdev_);
    if (const int code = rte_eth_dev_reset(ethdev_); code != 0)
        return machine_error("port " + name() + " (" + driver_ +
                             "): the device cannot be reset: " + rte_strerror(-code));
    started_ = promiscuous_ = false;
    closed_stats_ = before;  // the device counts from 0 again
    const auto device = parse_device(spec_.device, spec_.queues, device_mtu());
    return set_up(owned_ && device ? &*device : nullptr, pools);
}

Result<void> Port::make(MbufPools& pools) {
    const auto named = [&](Error error) {
        error.message = "port " + name() + ": " + error.message;
        return error;
    };
    const auto device = parse_device(spec_.device, spec_.queues, device_mtu());
    if (!device) return tl::make_unexpected(named(device.error()));
    if (const auto checked = check_device(*device, spec_.queues, device_mtu()); !checked)
        return tl::make_unexpected(named(checked.error()));
    if (auto taken = take_over(*device); !taken) return tl::make_unexpected(named(taken.error()));
    std::string why_not_xdp;
    if (takes_over_) {
        if (const auto made = make_xdp(device->argument("iface"), pools))
            return {};
        else
            why_not_xdp = made.error();
    }
    auto made = make_device(*device, pools);
    if (made && takes_over_) tell_of_takeover(why_not_xdp);
    return made;
}

tl::expected<void, std::string> Port::make_xdp(const std::string& interface, MbufPools& pools) {
    const auto device = xdp_device(interface, spec_.queues, device_mtu(), spec_.tag_bytes);
    if (!device) return tl::make_unexpected(device.error());
    // The driver cannot change it.
    if (spec_.mac) (void)apply_word(interface, "mac " + text_of(*spec_.mac));
    hush_bpf_libraries();
    const unsigned index = if_nametoindex(interface.c_str());
    // The kernel lets go of a socket's queue some time after the socket is closed (xp_release_deferred).
    if (std::exchange(xdp_index_, index) == index) std::this_thread::sleep_for(kXdpRelease);
    if (const auto made = make_device(*device, pools); !made) {
        // "port edge: " is said once.
        const std::string& sentence = made.error().message;
        return tl::make_unexpected(sentence.substr(std::min(sentence.find(": ") + 2, sentence.size())));
    }
    tell_of_takeover({});
    return {};
}

void Port::tell_of_takeover(const std::string& why_not_xdp) {
    const auto tell = [&](const std::string& sentence) {
        notes_.push_back("port " + name() + ": " + sentence);
    };
    tell(kernel_interface_ + " is served by " + driver_ +
         ", the trial path: right for a first look and for labs, far slower than a NIC under DPDK; " +
         (why_not_xdp.empty() ? "tcpdump on " + kernel_interface_ + " sees no frame of it"
                              : "AF_XDP would lose fewer frames, but " + why_not_xdp));
    for (const std::string& note : takeover_->notes()) tell(note);
}

Result<void> Port::make_device(const DeviceName& device, MbufPools& pools) {
    const auto probed = probe(spec_, device);
    if (!probed) return tl::make_unexpected(probed.error());
    owned_ = *probed;
    if (rte_eth_dev_get_port_by_name(device.name.c_str(), &ethdev_) != 0)
        return operator_error("port " + name() + ": DPDK took " + device.name +
                              " but made no network port of it: "
                              "is it a network device?");
    open_ = true;
    if (device.is("net_af_packet") || device.is("net_af_xdp")) kernel_interface_ = device.argument("iface");
    const bool by_xdp = device.is("net_af_xdp");
    const auto others = by_xdp ? xdp_descriptors_beside({}) : std::vector<int>();
    auto ready = set_up(&device, pools);
    if (by_xdp) xdp_descriptors_ = xdp_descriptors_beside(others);
    if (!ready) close_xdp_descriptors(std::exchange(xdp_descriptors_, {}));
    return ready;
}

// An interface that was made again is taken again; the same one is still ours.
Result<void> Port::take_over(const DeviceName& device) {
    const std::string interface = device.argument("iface");
    if (takeover_ && takeover_->interface_index() == if_nametoindex(interface.c_str())) return {};
    takeover_.reset();
    takes_over_ = device.takes_over;
    if (!takes_over_) return {};
    auto taken = KernelTakeover::take(interface);
    if (!taken) return tl::make_unexpected(taken.error());
    takeover_ = std::move(*taken);
    return {};
}

Result<void> Port::set_up(const DeviceName* device, MbufPools& pools) {
    const LogCapture log;
    notes_.clear();
    rx_taken_.assign(spec_.queues, false);
    tx_taken_.assign(spec_.queues, false);
    if (auto ready = PortSetup(*this, pools).run(device); !ready) {
        Error error = std::move(ready).error();
        if (error.cause == Error::Cause::machine) error.message += log.quote();
        close();
        return tl::make_unexpected(std::move(error));
    }
    events_ = std::make_unique<PortEvents>(ethdev_);
    driver_log_ = log.text();
    return {};
}

RxQueue Port::rx_queue(std::uint16_t queue) {
    RTE_VERIFY(queue < spec_.queues && !rx_taken_[queue]);
    rx_taken_[queue] = true;
    return {ethdev_, queue};
}

TxQueue Port::tx_queue(std::uint16_t queue) {
    RTE_VERIFY(queue < spec_.queues && !tx_taken_[queue]);
    tx_taken_[queue] = true;
    return {ethdev_, queue};
}

bool Port::link_up() const noexcept {
    if (carries_device_ && !open_) return false;
    // The PMD says "up" from start to stop, whatever becomes of the interface.
    if (!kernel_interface_.empty()) return interface_is_running(kernel_interface_);
    rte_eth_link link{};
    return rte_eth_link_get_nowait(ethdev_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

PortStats Port::stats() const noexcept {
    PortStats sum = closed_stats_;
    rte_eth_stats raw{};
    if (!open_ || rte_eth_stats_get(ethdev_, &raw) != 0) return sum;
    sum.rx_packets += raw.ipackets;
    sum.tx_packets += raw.opackets;
    sum.rx_bytes += raw.ibytes;
    sum.tx_bytes += raw.obytes;
    sum.rx_missed += raw.imissed;
    sum.rx_no_mbuf += raw.rx_nombuf;
    sum.rx_errors += raw.ierrors;
    sum.tx_errors += raw.oerrors;
    return sum;
}

std::vector<std::pair<std::string, std::uint64_t>> Port::nic_counters() const {
    std::vector<std::pair<std::string, std::uint64_t>> counters;
    const int count = open_ ? rte_eth_xstats_get_names(ethdev_, nullptr, 0) : 0;
    if (count <= 0) return counters;
    std::vector<rte_eth_xstat_name> names(static_cast<std::size_t>(count));
    std::vector<rte_eth_xstat> values(static_cast<std::size_t>(count));
    if (rte_eth_xstats_get_names(ethdev_, names.data(), static_cast<unsigned>(count)) != count ||
        rte_eth_xstats_get(ethdev_, values.data(), static_cast<unsigned>(count)) != count)
        return counters;
    for (const auto& value : values) {
        std::string name = metric_name(names[value.id].name);
        const bool basic =
            std::find(kBasicCounters.begin(), kBasicCounters.end(), name) != kBasicCounters.end();
        if (!basic && !is_gauge(name)) counters.emplace_back(std::move(name), value.value);
    }
    return counters;
}

}  // namespace weir
