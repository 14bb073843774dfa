#include "ctrl/kernel/kernel_view.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>

namespace weir {
namespace {

template <class Header>
std::span<const std::byte> bytes_of(const Header& header) {
    return std::as_bytes(std::span(&header, 1));
}

}  // namespace

Result<std::unique_ptr<KernelView>> KernelView::open(const std::vector<std::string>& host_interfaces,
                                                     Notify notify, int receive_buffer) {
    std::unique_ptr<KernelView> view(new KernelView(host_interfaces, std::move(notify)));
    auto requests = NetlinkSocket::for_requests();
    if (!requests) return tl::make_unexpected(requests.error());
    constexpr std::array kGroups{RTNLGRP_LINK,        RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR,
                                 RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
    const std::vector<int> groups(kGroups.begin(), kGroups.end());
    auto events = NetlinkSocket::for_events(groups, receive_buffer);
    if (!events) return tl::make_unexpected(events.error());
    view->requests_ = std::move(*requests);
    view->events_ = std::move(*events);
    view->read_stale();
    return view;
}

void KernelView::receive() {
    constexpr unsigned kDatagrams = 4'096;  // some milliseconds
    const auto drained = events_->drain(kDatagrams, [this](nl_msg& message) { take(message); });
    if (drained != NetlinkSocket::Drained::lost) return;
    ++resyncs_;
    asked_anew_.clear();
    stale_interfaces_ = stale_routes_ = stale_neighbors_ = true;
}

void KernelView::take(nl_msg& message) {
    switch (nlmsg_hdr(&message)->nlmsg_type) {
        case RTM_NEWNEIGH:
        case RTM_DELNEIGH:
            if (take_neighbor(message)) ++changes_;
            return;
        case RTM_NEWROUTE:
        case RTM_DELROUTE: {
            const auto route = read_route(message);
            if (!route || !is_of_use(route->prefix)) return;
            break;
        }
        case RTM_NEWLINK:
        case RTM_DELLINK: {
            const auto link = read_link(message);
            if (!link) return;
            if (link->is_running) ask_again(link->interface);
            stale_interfaces_ = true;
            break;
        }
        case RTM_NEWADDR:
        case RTM_DELADDR:
            stale_interfaces_ = true;
            break;
        default:
            return;
    }
    stale_routes_ = true;
    ++changes_;
}

// Whether it is a next hop's.
bool KernelView::take_neighbor(nl_msg& message) {
    // Most of a storm ends at the first or second line: not a host interface, not a next hop.
    const auto* header = static_cast<const ndmsg*>(nlmsg_data(nlmsg_hdr(&message)));
    const auto port = ways_.port_of(static_cast<InterfaceIndex>(header->ndm_ifindex));
    if (!port) return false;
    const auto neighbor = read_neighbor(message);
    if (!neighbor) return false;
    const HopKey key{*port, neighbor->address};
    const auto known = ways_.neighbors().find(key);
    if (known == ways_.neighbors().end()) return false;
    KernelNeighbor next = next_neighbor(known->second, *neighbor);
    const bool says_nothing = link_down_.test(index(*port)) || asked_anew_.contains(key);
    if (says_nothing && next.failed && !known->second.failed) next = known->second;
    if (nlmsg_hdr(&message)->nlmsg_type == RTM_DELNEIGH) {
        if (const auto asked = asked_anew_.find(key); asked != asked_anew_.end()) asked_anew_.erase(asked);
        unkept_.insert(key);
    }
    ways_.set_neighbor(key, next);
    return true;
}

// A backend could take a route to this network.
bool KernelView::is_of_use(const IpPrefix& network) const {
    const auto first = destinations_.lower_bound(network.address);
    return first != destinations_.end() && network.contains(*first);
}

WaysChange KernelView::settle() {
    read_stale();
    return ways_.take_change();
}

// What could not be read stays stale, and is read with the next settle().
void KernelView::read_stale() {
    const auto step = [this](bool& stale, Result<void> (KernelView::*read)()) {
        if (!stale) return;
        const Result<void> done = (this->*read)();
        stale = !done;
        if (!done && notify_ && !std::exchange(has_complained_, true))
            notify_(Severity::error, done.error().message + ": ways to backends may be out of date");
        if (done) has_complained_ = false;
    };
    step(stale_interfaces_, &KernelView::read_interfaces);
    step(stale_routes_, &KernelView::read_routes);
    want_hops();
    step(stale_neighbors_, &KernelView::read_neighbors);
    keep_neighbors();
}

Result<void> KernelView::read_interfaces() {
    std::map<InterfaceIndex, std::string> names;
    const ifinfomsg links{};
    auto done = requests_->dump(
        RTM_GETLINK, bytes_of(links), [&] { names.clear(); },
        [&](nl_msg& message) {
            if (auto link = read_link(message)) names[link->interface] = link->name;
        });
    if (!done) return done;
    std::map<InterfaceIndex, std::vector<KernelAddress>> addresses;
    const ifaddrmsg any{};
    done = requests_->dump(
        RTM_GETADDR, bytes_of(any), [&] { addresses.clear(); },
        [&](nl_msg& message) {
            if (auto own = read_address(message)) addresses[own->interface].push_back(own->address);
        });
    if (!done) return done;
    for (std::size_t i = 0; i < ways_.interfaces().size(); ++i) {
        const std::string& name = ways_.interfaces()[i].name;
        const auto found = std::ranges::find_if(names, [&](const auto& link) { return link.second == name; });
        const auto interface = found == names.end() ? InterfaceIndex::none : found->first;
        const bool is_new = ways_.interfaces()[i].index != interface;
        ways_.set_interface(PortId{static_cast<std::uint8_t>(i)}, interface, std::move(addresses[interface]));
        stale_neighbors_ |= is_new;
    }
    ways_.set_names(std::move(names));
    note_unkept();  // while the interface was down the kernel would not take them
    return {};
}

Result<void> KernelView::read_routes() {
    std::vector<KernelRoute> routes;
    const rtmsg any{};
    auto done = requests_->dump(
        RTM_GETROUTE, bytes_of(any), [&] { routes.clear(); },
        [&](nl_msg& message) {
            auto route = read_route(message);
            if (route && is_of_use(route->prefix)) routes.push_back(std::move(*route));
        });
    if (done) ways_.set_routes(std::move(routes));
    return done;
}

Result<void> KernelView::read_neighbors() {
    const ndmsg any{};
    return requests_->dump(
        RTM_GETNEIGH, bytes_of(any), [] {}, [&](nl_msg& message) { (void)take_neighbor(message); });
}

// Next hops to destinations whose route has changed.
void KernelView::want_hops() {
    const WaysChange& change = ways_.change();
    if (!change.all && change.destinations.empty()) return;
    for (const IpAddress& destination : destinations_) {
        if (!change.concerns_route_to(destination)) continue;
        for (const HopKey& key : ways_.want_hops_to(destination)) unkept_.insert(key);
    }
    stale_neighbors_ |= !unkept_.empty();
}

void KernelView::keep_neighbors() {
    for (const HopKey& key : unkept_) {
        const auto known = ways_.neighbors().find(key);
        if (known != ways_.neighbors().end() && !known->second.is_kept()) send(key, RTM_NEWNEIGH);
    }
    unkept_.clear();
}

// Whatever the kernel answers, its notifications tell what came of it, and refresh() tries again.
bool KernelView::send(const HopKey& key, int type) {
    const InterfaceIndex interface = ways_.interface_of(key.port).index;
    if (interface == InterfaceIndex::none) return false;
    nl_msg* message = nlmsg_alloc_simple(type, type == RTM_NEWNEIGH ? NLM_F_CREATE | NLM_F_REPLACE : 0);
    if (message == nullptr) return false;
    ndmsg header{};
    header.ndm_family = key.address.is_v4() ? AF_INET : AF_INET6;
    header.ndm_ifindex = static_cast<int>(index(interface));
    if (type == RTM_NEWNEIGH) header.ndm_flags = NTF_USE | NTF_EXT_LEARNED;
    nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO);
    nla_put(message, NDA_DST, static_cast<int>(key.address.bit_length() / 8), key.address.bytes().data());
    if (type == RTM_NEWNEIGH) nla_put_u32(message, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
    return requests_->request(message) == 0;
}

void KernelView::want(const std::vector<IpAddress>& destinations) {
    const std::size_t before = destinations_.size();
    destinations_.insert(destinations.begin(), destinations.end());
    if (destinations_.size() == before) return;
    stale_routes_ = true;
    read_stale();
    // Routes that were known already do not count as changed.
    for (const IpAddress& destination : destinations)
        for (const HopKey& key : ways_.want_hops_to(destination)) unkept_.insert(key);
    stale_neighbors_ |= !unkept_.empty();
    read_stale();
}

void KernelView::want_only(const std::vector<IpAddress>& destinations) {
    destinations_ = {destinations.begin(), destinations.end()};
    for (const auto& [key, neighbor] : ways_.forget_hops_except(destinations))
        if (neighbor.is_managed) send(key, RTM_DELNEIGH);
    stale_routes_ = true;
}

void KernelView::refresh() {
    note_unkept();
    keep_neighbors();
}

void KernelView::set_link(PortId port, bool up) {
    const bool was_up = !link_down_.test(index(port));
    link_down_.set(index(port), !up);
    if (!up || was_up) return;
    waits_for_carrier_.set(index(port));
    ask_anew(port);
}

// The kernel takes note of a host interface's carrier some time after it was set (linkwatch), and throws away
// what it sends before: its first question, too, and the next would come a second later.
void KernelView::ask_again(InterfaceIndex interface) {
    const auto port = ways_.port_of(interface);
    if (!port || link_down_.test(index(*port)) || !waits_for_carrier_.test(index(*port))) return;
    waits_for_carrier_.reset(index(*port));
    ask_anew(*port);
}

// A new entry is asked for now, one that waits for an answer with its next timer. The kernel calls an entry
// that is deleted FAILED first: that is no news of the neighbour.
void KernelView::ask_anew(PortId port) {
    for (const auto& [key, neighbor] : ways_.neighbors()) {
        if (key.port != port || neighbor.is_permanent) continue;
        if (send(key, RTM_DELNEIGH)) asked_anew_.insert(key);
        send(key, RTM_NEWNEIGH);
    }
}

void KernelView::note_unkept() {
    for (const auto& [key, neighbor] : ways_.neighbors())
        if (!neighbor.is_kept()) unkept_.insert(key);
}

}  // namespace weir
