#include "drivers/port_setup.h"

#include <net/if.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "drivers/kernel_device.h"

namespace weir {
namespace {

constexpr DeviceTraits kTraits[] = {
    {"net_pcap", true, false, true, false},
    {"net_ring", true, false, true, false},
    {"net_null", true, false, false, false},
    // An AF_PACKET socket sees what its interface accepts; the PMD states 1,518 bytes whatever framesz says.
    {"net_af_packet", false, false, false, true},
    {"net_af_xdp", false, false, false, false},
    // Offers RSS types for rte_flow alone; the kernel picks the queue by a hash of its own.
    {"net_tap", true, false, false, false},
    {"net_memif", true, false, false, false},
};
constexpr DeviceTraits kOrdinaryNic = {"", false, true, false, false};

// Hashing plain IP as well would spread fragments and ICMP over queues; ENA does not, and software follows
// ENA.
constexpr std::uint64_t kRssTypes = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
                                    RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;

constexpr unsigned kEthernetAndTags = RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN;

// The kernel's MTU of an interface; 0: there is none.
unsigned interface_mtu(const std::string& interface) {
    const int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0) return 0;
    ifreq request{};
    interface.copy(request.ifr_name, IFNAMSIZ - 1);
    const bool known = ioctl(socket_fd, SIOCGIFMTU, &request) == 0;
    close(socket_fd);
    return known ? static_cast<unsigned>(request.ifr_mtu) : 0;
}

bool set_interface_mtu(const std::string& interface, int mtu) {
    const int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0) return false;
    ifreq request{};
    interface.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_mtu = mtu;
    const bool done = ioctl(socket_fd, SIOCSIFMTU, &request) == 0;
    close(socket_fd);
    return done;
}

std::string text_of(const MacBytes& mac) {
    char text[RTE_ETHER_ADDR_FMT_SIZE];
    rte_ether_addr address;
    std::memcpy(address.addr_bytes, mac.data(), mac.size());
    rte_ether_format_addr(text, sizeof(text), &address);
    return text;
}

}  // namespace

const DeviceTraits& traits_of(const std::string& driver) noexcept {
    for (const auto& traits : kTraits)
        if (driver == traits.driver) return traits;
    return kOrdinaryNic;
}

auto PortSetup::fail(const std::string& what, int code) const {
    return machine_error("port " + port_.name() + " (" + port_.driver() + "): " + what + ": " +
                         rte_strerror(code < 0 ? -code : code));
}

Result<void> PortSetup::run(const DeviceName* device) {
    asks_for_interrupts_ = port_.spec_.rx_interrupts;
    auto ready = bring_up(device);
    if (!ready && asks_for_interrupts_) {
        // Some drivers refuse to start with them, such as ENA on igb_uio.
        asks_for_interrupts_ = false;
        port_.notes_.clear();
        if (bring_up(device)) ready = {};
    }
    if (ready) learn_rx_interrupts();
    return ready;
}

Result<void> PortSetup::bring_up(const DeviceName* device) {
    return read_device()
        .and_then([&] { return check_queues(); })
        .and_then([&] { return choose_pool(device); })
        .and_then([&] { return configure(); })
        .and_then([&] { return set_up_queues(); })
        .and_then([&] { return set_mtu(device); })
        .and_then([&] { return set_mac(); })
        .and_then([&] { return start(); })
        .and_then([&] { return retry_mtu(); })
        .and_then([&] { return accept_frames(); })
        .map([&] { learn_rss(); });
}

Result<void> PortSetup::read_device() {
    if (const int code = rte_eth_dev_info_get(port_.ethdev(), &info_); code != 0)
        return fail("the device does not answer", code);
    port_.driver_ = info_.driver_name != nullptr ? info_.driver_name : "unknown driver";
    traits_ = &traits_of(port_.driver_);
    return {};
}

Result<void> PortSetup::check_queues() const {
    const std::uint16_t offered = std::min(info_.max_rx_queues, info_.max_tx_queues);
    if (port_.queues() == 0)
        return refuse("a port needs at least one queue: set dataplane.workers to 1 or more");
    if (port_.queues() <= offered) return {};
    return refuse(
        port_.driver() + " has " + std::to_string(offered) + " queue pair(s) and " +
        std::to_string(port_.queues()) + " workers need one each: lower dataplane.workers to " +
        std::to_string(offered) +
        (port_.driver() == "net_ena" ? " or give the network interface more queues (EC2: ENA queues)" : ""));
}

// Rounded up to whole lines.
std::uint16_t PortSetup::room_for(unsigned bytes) {
    return static_cast<std::uint16_t>((bytes + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE *
                                      RTE_CACHE_LINE_SIZE);
}

Result<void> PortSetup::choose_pool(const DeviceName* device) {
    const unsigned frame = mtu() + kEthernetAndTags;
    if (port_.driver() == "net_af_xdp") {
        const unsigned room = std::max<unsigned>(kFrameRoom, frame + kXdpHeadroom);
        const auto pool = pools_.pool_for_device(room_for(room), kXdpHeldFrames);
        if (!pool) return refuse(pool.error());
        port_.pool_ = *pool;
        return {};
    }
    const bool scatters =
        (info_.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) != 0 || traits_->chains_unasked;
    unsigned room = kFrameRoom;
    if (!scatters) {
        room = std::max(room, frame);
        // The PMD refuses a pool whose mbufs are shorter than its ring's slots, and copies without looking.
        if (device != nullptr && device->is("net_af_packet"))
            room = std::max(room, device->number("framesz", 2048));
    }
    port_.may_receive_chains_ = scatters;
    const auto pool = pools_.pool_for(rte_eth_dev_socket_id(port_.ethdev()), room_for(room));
    if (!pool) return refuse(pool.error().message);
    port_.pool_ = *pool;
    return {};
}

rte_eth_conf PortSetup::wanted_configuration() {
    rte_eth_conf conf{};
    const bool hides_mtu = traits_->hides_its_mtu;
    conf.rxmode.mtu = hides_mtu ? std::min<std::uint16_t>(mtu(), RTE_ETHER_MTU) : mtu_with_tags();
    const std::uint64_t can_receive = info_.rx_offload_capa;
    conf.rxmode.offloads = can_receive & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_RSS_HASH);
    // Only where needed: scattering takes many NICs off their vectorised path.
    if (mtu() + kEthernetAndTags > kFrameRoom)
        conf.rxmode.offloads |= can_receive & RTE_ETH_RX_OFFLOAD_SCATTER;
    port_.checks_ipv4_checksums_ = (can_receive & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0;

    // MBUF_FAST_FREE stays off: it promises that all frames of a queue come from one pool, which two NUMA
    // nodes or two frame rooms break, and a broken promise corrupts memory without a word.
    conf.txmode.offloads = info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    port_.can_send_chains_ = (info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;

    conf.intr_conf.rxq = asks_for_interrupts_ ? 1 : 0;

    rss_types_ = traits_->spreads_by_rss ? info_.flow_type_rss_offloads & kRssTypes : 0;
    if (rss_types_ != 0) {
        // 40 bytes cover both tuples; i40e and ice ask for 52 and never reach the last 12 with ours.
        rss_key_.assign(info_.hash_key_size != 0 ? info_.hash_key_size : kRssKey.size(), 0);
        std::copy_n(kRssKey.begin(), std::min(rss_key_.size(), kRssKey.size()), rss_key_.begin());
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf = {rss_key_.data(), static_cast<std::uint8_t>(rss_key_.size()), rss_types_};
    } else {
        conf.rxmode.offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
    }
    return conf;
}

Result<void> PortSetup::configure() {
    rte_eth_conf conf = wanted_configuration();
    // The link's changes as they come, where the device can tell; polling finds them anyway.
    conf.intr_conf.lsc = (*info_.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0 ? 1 : 0;
    int code = rte_eth_dev_configure(port_.ethdev(), port_.queues(), port_.queues(), &conf);
    if (code != 0 && conf.intr_conf.lsc != 0) {
        conf.intr_conf.lsc = 0;
        code = rte_eth_dev_configure(port_.ethdev(), port_.queues(), port_.queues(), &conf);
    }
    if (code == -EINVAL && mtu_with_tags() > RTE_ETHER_MTU)
        return refuse(port_.driver() + " does not carry an mtu of " + mtu_text() +
                      " (it takes frames of up to " + std::to_string(info_.max_rx_pktlen) +
                      " bytes): lower the mtu");
    if (code != 0) return fail("the device refuses its configuration", code);
    return {};
}

Result<void> PortSetup::set_up_queues() {
    std::uint16_t rx = port_.spec_.rx_descriptors, tx = port_.spec_.tx_descriptors;
    if (const int code = rte_eth_dev_adjust_nb_rx_tx_desc(port_.ethdev(), &rx, &tx); code != 0)
        return fail("the device refuses its number of descriptors", code);
    const auto node = static_cast<unsigned>(rte_eth_dev_socket_id(port_.ethdev()));
    for (std::uint16_t queue = 0; queue < port_.queues(); ++queue) {
        if (const int code = rte_eth_rx_queue_setup(port_.ethdev(), queue, rx, node, nullptr, port_.pool_);
            code != 0)
            return fail("receive queue " + std::to_string(queue), code);
        if (const int code = rte_eth_tx_queue_setup(port_.ethdev(), queue, tx, node, nullptr); code != 0)
            return fail("transmit queue " + std::to_string(queue), code);
    }
    return {};
}

Result<void> PortSetup::set_mtu(const DeviceName* device) {
    if (traits_->hides_its_mtu && device != nullptr) {
        const std::string interface = device->argument("iface");
        const unsigned kernel = interface_mtu(interface);
        const std::uint16_t wanted = port_.interface_mtu();
        if (kernel < wanted && !set_interface_mtu(interface, wanted))
            return refuse(interface + " has an MTU of " + std::to_string(kernel) + " and refuses " +
                          std::to_string(wanted) + ": lower the port's mtu");
        if (kernel + kEthernetAndTags > af_packet_frame_bytes(*device))
            note(interface + " accepts frames of an MTU of " + std::to_string(kernel) +
                 ", and those longer than " + std::to_string(af_packet_frame_bytes(*device)) +
                 " bytes arrive cut: `ip link set " + interface + " mtu " + std::to_string(mtu()) +
                 "`, or a larger framesz in the device");
        return {};
    }
    mtu_code_ = rte_eth_dev_set_mtu(port_.ethdev(), mtu_with_tags());
    return {};
}

// Some drivers take an MTU only while stopped; a bond only once it runs, because it configures its members
// then.
Result<void> PortSetup::retry_mtu() {
    if (mtu_code_ != 0 && mtu_code_ != -ENOTSUP)
        mtu_code_ = rte_eth_dev_set_mtu(port_.ethdev(), mtu_with_tags());
    if (mtu_code_ == 0 || mtu_code_ == -ENOTSUP) return {};
    return refuse(port_.driver() + " does not take an mtu of " + mtu_text() + " (" +
                  rte_strerror(-mtu_code_) + "): lower the mtu");
}

Result<void> PortSetup::set_mac() {
    rte_ether_addr own{};
    rte_eth_macaddr_get(port_.ethdev(), &own);
    std::memcpy(port_.mac_.data(), own.addr_bytes, port_.mac_.size());
    if (!port_.spec_.mac) {
        if (!rte_is_zero_ether_addr(&own)) return {};
        // A software device without an address: a locally administered one, the same at every start.
        port_.mac_ = {0x02, 'w', 'e', 'i', 'r', static_cast<std::uint8_t>(port_.index())};
        note(port_.driver() + " has no MAC address; it gets " + text_of(port_.mac_) +
             " (set the port's mac to choose)");
        return {};
    }
    const MacBytes wanted = *port_.spec_.mac;
    if (wanted == port_.mac_) return {};
    rte_ether_addr address;
    std::memcpy(address.addr_bytes, wanted.data(), wanted.size());
    if (!rte_is_valid_assigned_ether_addr(&address))
        return refuse("mac = \"" + text_of(wanted) +
                      "\" is a group address or zero: write a unicast address");
    const int code = rte_eth_dev_default_mac_addr_set(port_.ethdev(), &address);
    const std::string device_mac = text_of(port_.mac_);
    port_.mac_ = wanted;
    if (code == 0 || traits_->takes_every_frame) return {};
    if (rte_eth_promiscuous_enable(port_.ethdev()) == 0) {
        port_.promiscuous_ = true;
        note(port_.driver() + " keeps its MAC address " + device_mac +
             "; it listens to all frames so that those to " + text_of(wanted) + " arrive");
        return {};
    }
    return refuse(port_.driver() + " cannot change its MAC address from " + device_mac + " to " +
                  text_of(wanted) + ": leave mac out of the port, or write " + device_mac);
}

Result<void> PortSetup::start() {
    if (const int code = rte_eth_dev_start(port_.ethdev()); code != 0)
        return fail("the device does not start", code);
    port_.started_ = true;
    return {};
}

// IPv6 neighbour discovery comes to multicast addresses, which a NIC filters unless told otherwise.
Result<void> PortSetup::accept_frames() {
    if (traits_->takes_every_frame || port_.promiscuous_) return {};
    if (rte_eth_allmulticast_enable(port_.ethdev()) == 0) return {};
    if (rte_eth_promiscuous_enable(port_.ethdev()) == 0) {
        port_.promiscuous_ = true;
        return {};
    }
    note(port_.driver() +
         " can accept neither all multicast nor all frames: IPv6 neighbour discovery may not arrive "
         "(on EC2 the VPC answers for it)");
    return {};
}

// A device that takes the request may still have none: asked queue by queue. -ENOTSUP: nothing to arm
// (net_tap).
void PortSetup::learn_rx_interrupts() {
    if (!port_.spec_.rx_interrupts) return;
    bool all = asks_for_interrupts_;
    for (std::uint16_t queue = 0; all && queue < port_.queues(); ++queue) {
        const bool has_descriptor = rte_eth_dev_rx_intr_ctl_q_get_fd(port_.ethdev(), queue) >= 0;
        const int code = has_descriptor ? rte_eth_dev_rx_intr_enable(port_.ethdev(), queue) : -ENODEV;
        if (code == 0) (void)rte_eth_dev_rx_intr_disable(port_.ethdev(), queue);
        all = code == 0 || code == -ENOTSUP;
    }
    port_.has_rx_interrupts_ = all;
    if (!all) note(port_.driver() + " has no receive interrupts: idle workers nap for up to 4 ms instead");
}

void PortSetup::learn_rss() {
    RssInfo& rss = port_.rss_;
    rss.reta = RetaTable(port_.queues());
    if (rss_types_ == 0) {
        if (port_.queues() > 1)
            note(port_.driver() + " does not spread frames by RSS: workers hand frames over to their owners");
        return;
    }
    rss.enabled = true;
    std::vector<std::uint8_t> key(rss_key_.size());
    rte_eth_rss_conf in_force{key.data(), static_cast<std::uint8_t>(key.size()), 0};
    const bool key_known =
        rte_eth_dev_rss_hash_conf_get(port_.ethdev(), &in_force) == 0 && key.size() >= rss.key.size();
    if (key_known) std::copy_n(key.begin(), rss.key.size(), rss.key.begin());
    rss.key_settable = key_known && key == rss_key_;
    rss.matches_software = key_known && rss_types_ == kRssTypes;
    if (!key_known)
        note(port_.driver() + " does not take or tell its RSS key: workers hand frames over to their owners");
    learn_reta();
}

void PortSetup::learn_reta() {
    RssInfo& rss = port_.rss_;
    const std::uint16_t size = info_.reta_size;
    if (size == 0 || (size & (size - 1)) != 0) {
        rss.matches_software = rss.matches_software && port_.queues() == 1;
        return;
    }
    rss.reta = RetaTable(port_.queues(), size);
    std::vector<rte_eth_rss_reta_entry64> groups((size + RTE_ETH_RETA_GROUP_SIZE - 1u) /
                                                 RTE_ETH_RETA_GROUP_SIZE);
    for (std::uint16_t i = 0; i < size; ++i) {
        auto& group = groups[i / RTE_ETH_RETA_GROUP_SIZE];
        group.mask |= 1ull << (i % RTE_ETH_RETA_GROUP_SIZE);
        group.reta[i % RTE_ETH_RETA_GROUP_SIZE] = rss.reta.entries()[i];
    }
    if (rte_eth_dev_rss_reta_update(port_.ethdev(), groups.data(), size) == 0) return;
    // What the device does not let us write it may let us read.
    if (rte_eth_dev_rss_reta_query(port_.ethdev(), groups.data(), size) != 0) {
        rss.matches_software = rss.matches_software && port_.queues() == 1;
        return;
    }
    std::vector<std::uint16_t> entries(size);
    for (std::uint16_t i = 0; i < size; ++i)
        entries[i] = groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
    rss.reta = RetaTable(std::move(entries));
}

}  // namespace weir
