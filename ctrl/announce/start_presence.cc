#include "ctrl/announce/start_presence.h"

#include <fmt/format.h>

#include <memory>

#include "ctrl/announce/announcement_frame.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

std::string route_to(const IpAddress& vip) {
    return to_text(IpPrefix{vip, static_cast<std::uint8_t>(vip.bit_length())});
}

}  // namespace

Result<VipPresence> start_presence(const PresenceSpec& spec) {
    Announcer announcer(spec.ports, [mac = spec.mac, host = spec.host](PortId port, const IpAddress& vip) {
        const auto kind = vip.is_v4() ? OutgoingKind::garp : OutgoingKind::neighbor_advertisement;
        return host->post(index(port), announcement_frame(vip, mac(port)), kind);
    });
    if (spec.route_interface == 0) return VipPresence(std::move(announcer), std::nullopt);
    auto opened = Netlink::open();
    if (!opened) return tl::make_unexpected(opened.error());
    const auto netlink = std::make_shared<Netlink>(std::move(*opened));  // shared by the two functions
    const int interface = spec.route_interface;
    VipRoutes routes([=](const IpAddress& vip) { return netlink->add_link_route(interface, route_to(vip)); },
                     [=](const IpAddress& vip) { return netlink->remove_route(interface, route_to(vip)); },
                     spec.notify);
    return VipPresence(std::move(announcer), std::move(routes));
}

}  // namespace weir
