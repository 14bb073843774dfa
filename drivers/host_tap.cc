#include "drivers/host_tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

namespace weir {
namespace {

constexpr const char* kTunDevice = "/dev/net/tun";

// The TAP's descriptor. IFF_TUN_EXCL: else an interface that somebody has made persistent would be taken
// over.
Result<int> make_tap(const std::string& name) {
    const int descriptor = open(kTunDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0)
        return operator_error(
            std::string(kTunDevice) + " cannot be opened (" + std::strerror(errno) +
            "): run `modprobe tun`, give the container the device, or write host_interface = "
            "\"none\"");
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL);
    if (ioctl(descriptor, TUNSETIFF, &request) == 0) return descriptor;
    const int reason = errno;
    close(descriptor);
    if (reason == EBUSY || reason == EEXIST)
        return operator_error("there is an interface of that name already (`ip link show " + name +
                              "`): remove it, or write another name as host_interface");
    if (reason == EPERM)
        return operator_error(
            "making it is not permitted: run as root, or with the capability NET_ADMIN, or write "
            "host_interface = "
            "\"none\"");
    return machine_error(std::string("the kernel does not make it: ") + std::strerror(reason));
}

Result<void> change_carrier(int descriptor, bool up) {
    const int carrier = up ? 1 : 0;
    if (ioctl(descriptor, TUNSETCARRIER, &carrier) == 0) return {};
    return machine_error(std::string("the kernel does not set its carrier: ") + std::strerror(errno));
}

// Of all interfaces; the kernel acts on the larger of this and the interface's own. 0 if it cannot be read.
int rp_filter_of_all() {
    int value = 0;
    std::ifstream("/proc/sys/net/ipv4/conf/all/rp_filter") >> value;
    return value;
}

std::string interface_name(int index) {
    std::array<char, IF_NAMESIZE> name{};
    return if_indextoname(static_cast<unsigned>(index), name.data()) == nullptr ? "another interface"
                                                                                : name.data();
}

// Brings the kernel's entries from `installed` to `wanted`. Removals come first: a new entry may replace an
// old one.
template <class Entry, class Add, class Remove>
void bring_to(std::set<Entry>& installed, const std::vector<Entry>& wanted, Add add, Remove remove,
              std::vector<std::string>& refused) {
    const std::set<Entry> target(wanted.begin(), wanted.end());
    for (auto entry = installed.begin(); entry != installed.end();) {
        // One that is gone already is no reason to complain.
        if (!target.contains(*entry)) (void)remove(*entry);
        entry = target.contains(*entry) ? std::next(entry) : installed.erase(entry);
    }
    for (const Entry& entry : target) {
        if (installed.contains(entry)) continue;
        if (const Result<void> added = add(entry); added)
            installed.insert(entry);
        else
            refused.push_back(added.error().message);
    }
}

}  // namespace

HostTap::HostTap(std::string name, int descriptor, int index, Netlink netlink) noexcept
    : name_(std::move(name)), descriptor_(descriptor), index_(index), netlink_(std::move(netlink)) {}

HostTap::HostTap(HostTap&& other) noexcept
    : name_(std::move(other.name_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      index_(other.index_),
      netlink_(std::move(other.netlink_)),
      notes_(std::move(other.notes_)),
      was_up_(other.was_up_),
      addresses_(std::move(other.addresses_)),
      routes_(std::move(other.routes_)),
      neighbors_(std::move(other.neighbors_)) {}

HostTap::~HostTap() {
    if (descriptor_ >= 0) close(descriptor_);
}

Result<HostTap> HostTap::open(const HostTapSpec& spec) {
    const auto named = [&](Error error) {
        error.message = "host interface " + spec.name + ": " + error.message;
        return tl::make_unexpected(std::move(error));
    };
    auto netlink = Netlink::open();
    if (!netlink) return named(netlink.error());
    const auto descriptor = make_tap(spec.name);
    if (!descriptor) return named(descriptor.error());
    HostTap made(spec.name, *descriptor, static_cast<int>(if_nametoindex(spec.name.c_str())),
                 std::move(*netlink));
    if (auto step = made.set_up(spec); !step) return tl::make_unexpected(made.named(step.error()));
    made.addresses_ = spec.addresses;
    made.look_at_machine(spec);
    return made;
}

// The MAC before anything else: the kernel derives the link-local IPv6 address from it.
Result<void> HostTap::set_up(const HostTapSpec& spec) {
    if (auto step = netlink_.set_mac(index_, spec.mac); !step) return step;
    if (auto step = netlink_.set_mtu(index_, spec.mtu); !step) return step;
    // Packets come in whose source is a VIP (a backend's own, what a tunnel has brought back): the way back
    // to it is not this interface's, and they are welcome all the same.
    if (auto step = netlink_.set_ipv4_setting(index_, IPV4_DEVCONF_RP_FILTER, 0); !step) return step;
    // Never answer here for an address that the kernel has elsewhere. IPv6 has no such setting, and needs
    // none: the kernel answers solicitations for the receiving interface's own addresses only (RFC
    // 4861 7.2.3).
    if (auto step = netlink_.set_ipv4_setting(index_, IPV4_DEVCONF_ARP_IGNORE, 1); !step) return step;
    // Machines that have IPv6 disabled by default mean their own interfaces.
    if (std::ranges::any_of(spec.addresses,
                            [](const auto& address) { return address.find(':') != address.npos; }))
        std::ofstream("/proc/sys/net/ipv6/conf/" + name_ + "/disable_ipv6") << 0;
    for (const std::string& address : spec.addresses)
        if (auto step = netlink_.add_address(index_, address); !step) return step;
    if (auto step = change_carrier(descriptor_, spec.carrier); !step) return step;
    return netlink_.set_up(index_);
}

void HostTap::look_at_machine(const HostTapSpec& spec) {
    if (const int filter = rp_filter_of_all(); filter != 0)
        notes_.push_back(
            "host interface " + name_ + ": net.ipv4.conf.all.rp_filter = " + std::to_string(filter) +
            " holds here too, and the kernel may drop packets whose source is a VIP: run `sysctl "
            "net.ipv4.conf.all.rp_filter=0`");
    const auto known = netlink_.addresses();
    if (!known) return;
    for (const std::string& prefix : spec.addresses)
        for (const LocalAddress& other : *known)
            if (other.interface != index_ && prefix.starts_with(other.address + "/"))
                notes_.push_back("host interface " + name_ + ": address " + prefix + " is on " +
                                 interface_name(other.interface) +
                                 " too, which then gets a part of the traffic: remove it there");
}

Error HostTap::named(Error error) const {
    error.message.insert(0, "host interface " + name_ + ": ");
    return error;
}

Result<void> HostTap::set_mac(const MacBytes& mac) {
    return netlink_.set_mac(index_, mac).map_error([&](Error error) { return named(std::move(error)); });
}

Result<void> HostTap::set_mtu(std::uint16_t mtu) {
    return netlink_.set_mtu(index_, mtu).map_error([&](Error error) { return named(std::move(error)); });
}

Result<void> HostTap::set_carrier(bool up) {
    return change_carrier(descriptor_, up).map_error([&](Error error) { return named(std::move(error)); });
}

std::vector<std::string> HostTap::install(const std::vector<HostRoute>& routes,
                                          const std::vector<HostNeighbor>& neighbors) {
    std::vector<std::string> refused;
    bring_to(
        neighbors_, neighbors,
        [&](const HostNeighbor& entry) { return netlink_.add_neighbor(index_, entry.address, entry.mac); },
        [&](const HostNeighbor& entry) { return netlink_.remove_neighbor(index_, entry.address); }, refused);
    bring_to(
        routes_, routes,
        [&](const HostRoute& entry) {
            return netlink_.add_route(index_, entry.prefix, entry.via, entry.table);
        },
        [&](const HostRoute& entry) { return netlink_.remove_route(index_, entry.prefix, entry.table); },
        refused);
    for (std::string& sentence : refused) sentence.insert(0, "host interface " + name_ + ": ");
    return refused;
}

std::vector<std::string> HostTap::restore() {
    const bool was_up = std::exchange(was_up_, netlink_.is_up(index_));
    if (was_up || !was_up_) return {};
    std::vector<std::string> refused;
    for (const std::string& address : addresses_)
        if (auto added = netlink_.add_address(index_, address); !added)
            refused.push_back(named(added.error()).message);
    const std::set<HostRoute> routes = std::exchange(routes_, {});
    const std::set<HostNeighbor> neighbors = std::exchange(neighbors_, {});
    for (std::string& sentence :
         install({routes.begin(), routes.end()}, {neighbors.begin(), neighbors.end()}))
        refused.push_back(std::move(sentence));
    return refused;
}

}  // namespace weir
