#include "drivers/netlink.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>

#include <array>

namespace weir {
namespace {

template <auto put>
struct Put {
    template <class Object>
    void operator()(Object* object) const noexcept {
        put(object);
    }
};
using Address = std::unique_ptr<nl_addr, Put<nl_addr_put>>;
using Link = std::unique_ptr<rtnl_link, Put<rtnl_link_put>>;
using LinkAddress = std::unique_ptr<rtnl_addr, Put<rtnl_addr_put>>;
using Route = std::unique_ptr<rtnl_route, Put<rtnl_route_put>>;
using Neighbor = std::unique_ptr<rtnl_neigh, Put<rtnl_neigh_put>>;
using Rule = std::unique_ptr<rtnl_rule, Put<rtnl_rule_put>>;
using Cache = std::unique_ptr<nl_cache, Put<nl_cache_free>>;

// libnl's negative number as a sentence about `what` ("set its MTU to 9000").
Result<void> done(int code, const std::string& what) {
    if (code >= 0) return {};
    const std::string sentence = "the kernel does not " + what + ": ";
    if (code == -NLE_PERM)
        return operator_error(sentence + "not permitted; run as root, or with the capability NET_ADMIN");
    if (code == -NLE_NOACCESS)
        return operator_error(sentence + "no access; is IPv6 disabled (net.ipv6.conf.*.disable_ipv6)?");
    return machine_error(sentence + nl_geterror(code));
}

Result<Address> parsed(const std::string& text) {
    nl_addr* address = nullptr;
    if (const int code = nl_addr_parse(text.c_str(), AF_UNSPEC, &address); code < 0)
        return operator_error("\"" + text + "\" is no address: " + nl_geterror(code));
    return Address(address);
}

Address mac_address(const MacBytes& mac) { return Address(nl_addr_build(AF_LLC, mac.data(), mac.size())); }

Link link_of(int interface) {
    Link link(rtnl_link_alloc());
    rtnl_link_set_ifindex(link.get(), interface);
    return link;
}

Result<LinkAddress> link_address(int interface, const std::string& prefix) {
    auto local = parsed(prefix);
    if (!local) return tl::make_unexpected(local.error());
    LinkAddress address(rtnl_addr_alloc());
    rtnl_addr_set_ifindex(address.get(), interface);
    rtnl_addr_set_local(address.get(), local->get());
    if (nl_addr_get_family(local->get()) == AF_INET6) rtnl_addr_set_flags(address.get(), IFA_F_NODAD);
    return address;
}

// A route of weir's; `via` null for one that is to be removed.
Result<Route> weir_route(int interface, const std::string& prefix, std::uint32_t table, nl_addr* via) {
    const auto destination = parsed(prefix);
    if (!destination) return tl::make_unexpected(destination.error());
    Route route(rtnl_route_alloc());
    rtnl_route_set_family(route.get(), static_cast<std::uint8_t>(nl_addr_get_family(destination->get())));
    rtnl_route_set_dst(route.get(), destination->get());
    rtnl_route_set_table(route.get(), table);
    rtnl_route_set_scope(route.get(), RT_SCOPE_UNIVERSE);
    rtnl_route_set_type(route.get(), RTN_UNICAST);
    rtnl_route_set_protocol(route.get(), Netlink::kRouteProtocol);
    rtnl_route_set_priority(route.get(), Netlink::kRouteMetric);
    rtnl_nexthop* hop = rtnl_route_nh_alloc();  // the route's from here on
    rtnl_route_nh_set_ifindex(hop, interface);
    if (via != nullptr) {
        rtnl_route_nh_set_gateway(hop, via);
        rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
    }
    rtnl_route_add_nexthop(route.get(), hop);
    return route;
}

Result<Neighbor> neighbor_entry(int interface, const std::string& address) {
    const auto destination = parsed(address);
    if (!destination) return tl::make_unexpected(destination.error());
    Neighbor neighbor(rtnl_neigh_alloc());
    rtnl_neigh_set_ifindex(neighbor.get(), interface);
    rtnl_neigh_set_family(neighbor.get(), nl_addr_get_family(destination->get()));
    rtnl_neigh_set_dst(neighbor.get(), destination->get());
    return neighbor;
}

Rule kernel_rule(const MarkRule& rule) {
    Rule made(rtnl_rule_alloc());
    rtnl_rule_set_family(made.get(), rule.v4 ? AF_INET : AF_INET6);
    rtnl_rule_set_action(made.get(), FR_ACT_TO_TBL);
    rtnl_rule_set_prio(made.get(), rule.priority);
    rtnl_rule_set_mark(made.get(), rule.mark);
    rtnl_rule_set_mask(made.get(), 0xffff'ffff);
    rtnl_rule_set_table(made.get(), rule.table);
    return made;
}

}  // namespace

void Netlink::FreeSocket::operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }

Result<Netlink> Netlink::open() {
    Socket socket(nl_socket_alloc());
    if (socket == nullptr) return machine_error("no memory for a netlink socket");
    if (const int code = nl_connect(socket.get(), NETLINK_ROUTE); code < 0)
        return machine_error(std::string("the kernel gives no netlink socket: ") + nl_geterror(code) +
                             "; under systemd, RestrictAddressFamilies must name AF_NETLINK");
    return Netlink(std::move(socket));
}

Result<void> Netlink::set_mac(int interface, const MacBytes& mac) {
    const Link link = link_of(interface), changes = link_of(interface);
    rtnl_link_set_addr(changes.get(), mac_address(mac).get());
    return done(rtnl_link_change(socket_.get(), link.get(), changes.get(), 0), "set its MAC address");
}

Result<void> Netlink::set_mtu(int interface, std::uint16_t mtu) {
    const Link link = link_of(interface), changes = link_of(interface);
    rtnl_link_set_mtu(changes.get(), mtu);
    return done(rtnl_link_change(socket_.get(), link.get(), changes.get(), 0),
                "set its MTU to " + std::to_string(mtu));
}

Result<void> Netlink::set_up(int interface) {
    const Link link = link_of(interface), changes = link_of(interface);
    rtnl_link_set_flags(changes.get(), IFF_UP);
    return done(rtnl_link_change(socket_.get(), link.get(), changes.get(), 0), "set it up");
}

bool Netlink::is_up(int interface) {
    rtnl_link* found = nullptr;
    if (rtnl_link_get_kernel(socket_.get(), interface, nullptr, &found) < 0) return false;
    return (rtnl_link_get_flags(Link(found).get()) & IFF_UP) != 0;
}

Result<void> Netlink::set_ipv4_setting(int interface, unsigned setting, std::uint32_t value) {
    const Link link = link_of(interface), changes = link_of(interface);
    rtnl_link_inet_set_conf(changes.get(), setting, value);
    std::array<char, 32> name{};
    rtnl_link_inet_devconf2str(static_cast<int>(setting), name.data(), name.size());
    return done(rtnl_link_change(socket_.get(), link.get(), changes.get(), 0),
                std::string("set its ") + name.data() + " to " + std::to_string(value));
}

Result<void> Netlink::add_address(int interface, const std::string& prefix) {
    const auto address = link_address(interface, prefix);
    if (!address) return tl::make_unexpected(address.error());
    return done(rtnl_addr_add(socket_.get(), address->get(), NLM_F_CREATE | NLM_F_REPLACE),
                "add address " + prefix);
}

Result<void> Netlink::remove_address(int interface, const std::string& prefix) {
    const auto address = link_address(interface, prefix);
    if (!address) return tl::make_unexpected(address.error());
    return done(rtnl_addr_delete(socket_.get(), address->get(), 0), "remove address " + prefix);
}

Result<std::vector<LocalAddress>> Netlink::addresses() {
    nl_cache* all = nullptr;
    if (const int code = rtnl_addr_alloc_cache(socket_.get(), &all); code < 0)
        return machine_error(std::string("the kernel does not list its addresses: ") + nl_geterror(code));
    const Cache cache(all);
    std::vector<LocalAddress> found;
    for (nl_object* object = nl_cache_get_first(all); object != nullptr; object = nl_cache_get_next(object)) {
        auto* address = reinterpret_cast<rtnl_addr*>(object);
        std::array<char, 64> text{};
        nl_addr2str(rtnl_addr_get_local(address), text.data(), text.size());
        const std::string prefix(text.data());
        found.push_back({rtnl_addr_get_ifindex(address), prefix.substr(0, prefix.find('/'))});
    }
    return found;
}

Result<void> Netlink::add_route(int interface, const std::string& prefix, const std::string& via,
                                std::uint32_t table) {
    const auto gateway = parsed(via);
    if (!gateway) return tl::make_unexpected(gateway.error());
    const auto route = weir_route(interface, prefix, table, gateway->get());
    if (!route) return tl::make_unexpected(route.error());
    return done(rtnl_route_add(socket_.get(), route->get(), NLM_F_CREATE | NLM_F_REPLACE),
                "add route " + prefix + " via " + via);
}

Result<void> Netlink::add_link_route(int interface, const std::string& prefix) {
    const auto route = weir_route(interface, prefix, kMainTable, nullptr);
    if (!route) return tl::make_unexpected(route.error());
    return done(rtnl_route_add(socket_.get(), route->get(), NLM_F_CREATE | NLM_F_REPLACE),
                "add route " + prefix);
}

Result<void> Netlink::remove_route(int interface, const std::string& prefix, std::uint32_t table) {
    const auto route = weir_route(interface, prefix, table, nullptr);
    if (!route) return tl::make_unexpected(route.error());
    const int code = rtnl_route_delete(socket_.get(), route->get(), 0);
    return code == -NLE_OBJ_NOTFOUND ? Result<void>{} : done(code, "remove route " + prefix);
}

Result<void> Netlink::add_mark_rule(const MarkRule& rule) {
    const int code = rtnl_rule_add(socket_.get(), kernel_rule(rule).get(), NLM_F_CREATE | NLM_F_EXCL);
    return code == -NLE_EXIST ? Result<void>{}
                              : done(code, "add a rule for table " + std::to_string(rule.table));
}

Result<void> Netlink::remove_mark_rule(const MarkRule& rule) {
    const int code = rtnl_rule_delete(socket_.get(), kernel_rule(rule).get(), 0);
    return code == -NLE_OBJ_NOTFOUND ? Result<void>{}
                                     : done(code, "remove a rule for table " + std::to_string(rule.table));
}

Result<void> Netlink::add_neighbor(int interface, const std::string& address, const MacBytes& mac) {
    const auto neighbor = neighbor_entry(interface, address);
    if (!neighbor) return tl::make_unexpected(neighbor.error());
    rtnl_neigh_set_lladdr(neighbor->get(), mac_address(mac).get());
    rtnl_neigh_set_state(neighbor->get(), NUD_PERMANENT);
    return done(rtnl_neigh_add(socket_.get(), neighbor->get(), NLM_F_CREATE | NLM_F_REPLACE),
                "add neighbor " + address);
}

Result<void> Netlink::remove_neighbor(int interface, const std::string& address) {
    const auto neighbor = neighbor_entry(interface, address);
    if (!neighbor) return tl::make_unexpected(neighbor.error());
    return done(rtnl_neigh_delete(socket_.get(), neighbor->get(), 0), "remove neighbor " + address);
}

}  // namespace weir
