#include "ctrl/announce/vip_presence.h"

#include <map>

namespace weir {

std::vector<AnnouncedVip> vips_of(const Config& config) {
    std::map<IpAddress, std::optional<PortId>> vips;
    for (const ServiceConfig& service : config.services) vips.emplace(service.vip, std::nullopt);
    for (std::size_t port = 0; port < config.ports.size(); ++port)
        for (const IpPrefix& own : config.ports[port].addresses) {
            const auto vip = vips.find(own.address);
            if (vip != vips.end()) vip->second = PortId{static_cast<std::uint8_t>(port)};
        }
    std::vector<AnnouncedVip> sorted;
    sorted.reserve(vips.size());
    for (const auto& [address, only] : vips) sorted.push_back({address, only});
    return sorted;
}

VipPresence::VipPresence(Announcer announcer, std::optional<VipRoutes> routes)
    : announcer_(std::move(announcer)), routes_(std::move(routes)) {}

void VipPresence::withdraw() {
    routed_.clear();
    for (const AnnouncedVip& vip : vips_)
        if (!vip.only)
            routed_.insert(vip.address);  // the port's own address: the kernel's, and routed as it is
    announcer_.withdraw_all_but(vips_);
    if (routes_) routes_->withdraw_all_but(routed_);
}

void VipPresence::activate(std::chrono::steady_clock::time_point now) {
    announcer_.activate(vips_, now);
    if (routes_) routes_->activate(routed_);
}

void VipPresence::tick(const World& world, std::chrono::steady_clock::time_point now) {
    if (world.config() == nullptr) return;
    if (named_generation_ != world.named_generation()) {
        named_generation_ = world.named_generation();
        active_ = false;
        vips_ = vips_of(*world.config());
        std::erase_if(vips_, [this](const AnnouncedVip& vip) { return hidden_.contains(vip.address); });
        withdraw();
    }
    if (!active_ && world.in_force()) {
        active_ = true;
        activate(now);
    }
    announcer_.tick(now);
    if (routes_) routes_->tick(now);
}

void VipPresence::hide(std::set<IpAddress> vips) {
    if (vips == hidden_) return;
    hidden_ = std::move(vips);
    named_generation_ = 0;  // the next tick() looks at all of them again
}

void VipPresence::set_link(PortId port, bool up, std::chrono::steady_clock::time_point now) {
    // The interface may have been down meanwhile, too.
    if (up && !announcer_.is_up(port) && routes_) routes_->forget();
    announcer_.set_link(port, up, now);
}

}  // namespace weir
