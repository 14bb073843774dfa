#include "ctrl/kernel/read_netlink.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <cstring>

namespace weir {
namespace {

// libnl's object of a message, handed to `read`; nothing if libnl does not understand it.
template <class Object, class Read>
void with_object(nl_msg& message, const Read& read) {
    const auto call = [](nl_object* object, void* context) {
        (*static_cast<const Read*>(context))(reinterpret_cast<Object*>(object));
    };
    nl_msg_parse(&message, call, const_cast<Read*>(&read));
}

std::optional<IpAddress> to_address(int family, const void* bytes, std::size_t length) {
    if (family == AF_INET && length == sizeof(Ipv4Address)) {
        Ipv4Address address;
        std::memcpy(&address, bytes, sizeof(address));
        return IpAddress(address);
    }
    if (family == AF_INET6 && length == sizeof(Ipv6Address)) {
        Ipv6Address address;
        std::memcpy(&address, bytes, sizeof(address));
        return IpAddress(address);
    }
    return std::nullopt;
}

std::optional<IpAddress> to_address(nl_addr* address) {
    if (address == nullptr) return std::nullopt;
    return to_address(nl_addr_get_family(address), nl_addr_get_binary_addr(address),
                      nl_addr_get_len(address));
}

// A default route has no bytes of destination.
std::optional<IpPrefix> to_network(int family, nl_addr* destination) {
    constexpr std::uint8_t kZeros[16] = {};
    const std::size_t size = family == AF_INET ? 4 : 16;
    auto address = to_address(destination);
    if (!address && (destination == nullptr || nl_addr_get_len(destination) == 0))
        address = to_address(family, kZeros, size);
    if (!address) return std::nullopt;
    const unsigned length = destination == nullptr ? 0 : nl_addr_get_prefixlen(destination);
    return network_of(*address, std::min(length, address->bit_length()));
}

KernelPath to_path(rtnl_nexthop* hop) {
    KernelPath path;
    path.interface = static_cast<InterfaceIndex>(rtnl_route_nh_get_ifindex(hop));
    path.gateway = to_address(rtnl_route_nh_get_gateway(hop));
    if (!path.gateway)
        path.gateway = to_address(rtnl_route_nh_get_via(hop));  // IPv4 by way of IPv6 (RFC 5549)
    path.weight = static_cast<std::uint16_t>(std::max<unsigned>(rtnl_route_nh_get_weight(hop), 1));
    const unsigned flags = rtnl_route_nh_get_flags(hop);
    path.dead = (flags & RTNH_F_DEAD) != 0;
    path.link_down = (flags & RTNH_F_LINKDOWN) != 0;
    return path;
}

bool is_of_use(rtnl_route* route) {
    const auto type = rtnl_route_get_type(route);
    const bool known =
        type == RTN_UNICAST || type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT;
    return known && rtnl_route_get_table(route) == RT_TABLE_MAIN && rtnl_route_get_tos(route) == 0 &&
           (rtnl_route_get_flags(route) & RTM_F_CLONED) == 0 && rtnl_route_get_src(route) == nullptr;
}

}  // namespace

std::optional<LinkNotice> read_link(nl_msg& message) {
    const auto* header = static_cast<const ifinfomsg*>(nlmsg_data(nlmsg_hdr(&message)));
    if (header->ifi_family != AF_UNSPEC) return std::nullopt;
    std::optional<LinkNotice> result;
    with_object<rtnl_link>(message, [&](rtnl_link* link) {
        const char* name = rtnl_link_get_name(link);
        result = {.interface = static_cast<InterfaceIndex>(rtnl_link_get_ifindex(link)),
                  .name = name == nullptr ? "" : name,
                  .is_running = (rtnl_link_get_flags(link) & IFF_RUNNING) != 0};
    });
    return result;
}

std::optional<AddressNotice> read_address(nl_msg& message) {
    std::optional<AddressNotice> result;
    with_object<rtnl_addr>(message, [&](rtnl_addr* own) {
        const auto address = to_address(rtnl_addr_get_local(own));
        const unsigned flags = rtnl_addr_get_flags(own);
        if (!address || (flags & IFA_F_DADFAILED) != 0) return;
        result.emplace();
        result->interface = static_cast<InterfaceIndex>(rtnl_addr_get_ifindex(own));
        result->address.prefix = {*address, static_cast<std::uint8_t>(rtnl_addr_get_prefixlen(own))};
        result->address.preferred = (flags & (IFA_F_TENTATIVE | IFA_F_DEPRECATED)) == 0;
    });
    return result;
}

std::optional<KernelRoute> read_route(nl_msg& message) {
    std::optional<KernelRoute> result;
    with_object<rtnl_route>(message, [&](rtnl_route* route) {
        const auto network = to_network(rtnl_route_get_family(route), rtnl_route_get_dst(route));
        if (!network || !is_of_use(route)) return;
        result.emplace();
        result->prefix = *network;
        result->metric = rtnl_route_get_priority(route);
        result->refused = rtnl_route_get_type(route) != RTN_UNICAST;
        result->source = to_address(rtnl_route_get_pref_src(route));
        const auto add = [](rtnl_nexthop* hop, void* paths) {
            static_cast<std::vector<KernelPath>*>(paths)->push_back(to_path(hop));
        };
        if (!result->refused) rtnl_route_foreach_nexthop(route, add, &result->paths);
        if (!result->refused && result->paths.empty()) result.reset();
    });
    return result;
}

std::optional<NeighborNotice> read_neighbor(nl_msg& message) {
    nlmsghdr* const all = nlmsg_hdr(&message);
    const auto* header = static_cast<const ndmsg*>(nlmsg_data(all));
    const nlattr* destination = nlmsg_find_attr(all, sizeof(ndmsg), NDA_DST);
    if (destination == nullptr || (header->ndm_flags & NTF_PROXY) != 0) return std::nullopt;
    const auto address =
        to_address(header->ndm_family, nla_data(destination), static_cast<std::size_t>(nla_len(destination)));
    if (!address) return std::nullopt;
    NeighborNotice result{.interface = static_cast<InterfaceIndex>(header->ndm_ifindex), .address = *address};
    if (all->nlmsg_type == RTM_DELNEIGH) return result;
    result.state = header->ndm_state;
    MacAddress mac;
    const nlattr* lladdr = nlmsg_find_attr(all, sizeof(ndmsg), NDA_LLADDR);
    if (lladdr != nullptr && nla_len(lladdr) == sizeof(mac)) {
        std::memcpy(&mac, nla_data(lladdr), sizeof(mac));
        result.mac = mac;
    }
    const nlattr* flags = nlmsg_find_attr(all, sizeof(ndmsg), NDA_FLAGS_EXT);
    result.is_managed = flags != nullptr && (nla_get_u32(flags) & NTF_EXT_MANAGED) != 0;
    return result;
}

KernelNeighbor next_neighbor(const KernelNeighbor& before, const NeighborNotice& message) {
    constexpr unsigned kHasMac =
        NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
    KernelNeighbor next = before;
    next.is_managed = message.is_managed;
    next.is_permanent = (message.state & (NUD_PERMANENT | NUD_NOARP)) != 0;
    if ((message.state & NUD_FAILED) != 0) {
        next.mac = {};
        next.resolved = false;
        next.failed = true;
    } else if ((message.state & kHasMac) != 0 && message.mac) {
        next.mac = *message.mac;
        next.resolved = true;
        next.failed = false;
    }
    return next;
}

}  // namespace weir
