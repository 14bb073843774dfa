// What the network hears of weir's VIPs: announcements on the links, routes for BIRD and FRR. A VIP is active
// while a service of the snapshot that every worker uses has it; weir then answers for it, and only then is
// anybody told.
//
// The control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "ctrl/announce/announcer.h"
#include "ctrl/announce/vip_routes.h"
#include "ctrl/config/config.h"
#include "ctrl/world.h"

namespace weir {

// The services' VIPs, each once, sorted.
[[nodiscard]] std::vector<AnnouncedVip> vips_of(const Config& config);

class VipPresence {
  public:
    // `routes`: of the host interface that the routes lead to; nullopt where no port has one.
    VipPresence(Announcer announcer, std::optional<VipRoutes> routes);

    // After each tick of `world`, and before anything else follows a reload: what it withdrew is silent then.
    void tick(const World& world, std::chrono::steady_clock::time_point now);
    // VIPs that nobody shall be told of, though they are served: too few of their backends are healthy.
    void hide(std::set<IpAddress> vips);
    void set_link(PortId port, bool up, std::chrono::steady_clock::time_point now);

    [[nodiscard]] const Announcer& announcer() const { return announcer_; }

  private:
    void withdraw();
    void activate(std::chrono::steady_clock::time_point now);

    Announcer announcer_;
    std::optional<VipRoutes> routes_;
    std::vector<AnnouncedVip> vips_;  // of the configuration that World has
    std::set<IpAddress> hidden_;
    std::set<IpAddress> routed_;          // those of them that have routes
    std::uint64_t named_generation_ = 0;  // of vips_
    bool active_ = false;                 // vips_ are in force
};

}  // namespace weir
