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
#include <cstring>

#include "drivers/device_name.h"
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
    : spec_(std::move(spec)),
      ethdev_(ethdev),
      owned_(owned),
      rx_taken_(spec_.queues),
      tx_taken_(spec_.queues) {}

Port::Port(Port&& other) noexcept
    : spec_(std::move(other.spec_)),
      ethdev_(other.ethdev_),
      owned_(other.owned_),
      open_(std::exchange(other.open_, false)),
      carries_device_(other.carries_device_),
      started_(other.started_),
      promiscuous_(other.promiscuous_),
      driver_(std::move(other.driver_)),
      kernel_interface_(std::move(other.kernel_interface_)),
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

Port::~Port() {
    if (!open_) return;
    rte_eth_dev_info info{};
    const bool known = rte_eth_dev_info_get(ethdev_, &info) == 0;
    // An AF_PACKET port would leave the kernel's interface listening to everything.
    if (promiscuous_) rte_eth_promiscuous_disable(ethdev_);
    if (started_) rte_eth_dev_stop(ethdev_);
    rte_eth_dev_close(ethdev_);
    if (owned_ && known && info.device != nullptr) rte_dev_remove(info.device);
}

Result<Port> Port::open(const PortSpec& spec, MbufPools& pools) {
    const auto named = [&](Error error) {
        error.message = "port " + spec.name + ": " + error.message;
        return error;
    };
    const std::uint16_t mtu = std::max(spec.mtu, spec.device_mtu);
    const auto device = parse_device(spec.device, spec.queues, mtu);
    if (!device) return tl::make_unexpected(named(device.error()));
    if (const auto checked = check_device(*device, spec.queues, mtu); !checked)
        return tl::make_unexpected(named(checked.error()));
    const auto probed = probe(spec, *device);
    if (!probed) return tl::make_unexpected(probed.error());
    std::uint16_t ethdev = 0;
    if (rte_eth_dev_get_port_by_name(device->name.c_str(), &ethdev) != 0)
        return operator_error("port " + spec.name + ": DPDK took " + device->name +
                              " but made no network port of it: "
                              "is it a network device?");
    Port port(spec, ethdev, *probed);
    if (device->is("net_af_packet")) port.kernel_interface_ = device->argument("iface");
    return set_up(std::move(port), &*device, pools);
}

Result<Port> Port::adopt(std::uint16_t ethdev, const PortSpec& spec, MbufPools& pools) {
    return set_up(Port(spec, ethdev, false), nullptr, pools);
}

Port Port::on_device_of(const Port& carrier, const PortSpec& spec) {
    Port port(spec, carrier.ethdev_, false);
    port.open_ = false;  // nor does it close
    port.carries_device_ = false;
    port.driver_ = carrier.driver_;
    port.kernel_interface_ = carrier.kernel_interface_;
    port.mac_ = carrier.mac_;
    port.rss_ = carrier.rss_;
    port.can_send_chains_ = carrier.can_send_chains_;
    port.may_receive_chains_ = carrier.may_receive_chains_;
    port.checks_ipv4_checksums_ = carrier.checks_ipv4_checksums_;
    port.pool_ = carrier.pool_;
    return port;
}

Result<Port> Port::set_up(Port port, const DeviceName* device, MbufPools& pools) {
    const LogCapture log;
    auto ready = PortSetup(port, pools).run(device);
    if (!ready) {
        Error error = std::move(ready).error();
        if (error.cause == Error::Cause::machine) error.message += log.quote();
        return tl::make_unexpected(std::move(error));
    }
    port.driver_log_ = log.text();
    return port;
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
    // The PMD says "up" from start to stop, whatever becomes of the interface.
    if (!kernel_interface_.empty()) return interface_is_running(kernel_interface_);
    rte_eth_link link{};
    return rte_eth_link_get_nowait(ethdev_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

PortStats Port::stats() const noexcept {
    rte_eth_stats raw{};
    if (rte_eth_stats_get(ethdev_, &raw) != 0) return {};
    return {raw.ipackets, raw.opackets,  raw.ibytes,  raw.obytes,
            raw.imissed,  raw.rx_nombuf, raw.ierrors, raw.oerrors};
}

std::vector<std::pair<std::string, std::uint64_t>> Port::nic_counters() const {
    std::vector<std::pair<std::string, std::uint64_t>> counters;
    const int count = rte_eth_xstats_get_names(ethdev_, nullptr, 0);
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
