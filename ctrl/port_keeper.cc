#include "ctrl/port_keeper.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir {
namespace {

using std::chrono::milliseconds;

// Other devices than kernel interfaces are asked for their link; a driver answers from memory or a register.
constexpr milliseconds kLinkPeriod{200};
constexpr milliseconds kFirstRetry{20}, kLongestRetry{1000};

}  // namespace

PortKeeper::PortKeeper(std::span<Port> ports, MbufPools& pools, World& world,
                       std::function<void(Port&)> hand_out)
    : pools_(pools), world_(world), hand_out_(std::move(hand_out)) {
    if (std::ranges::any_of(ports, [](const Port& port) { return !port.kernel_interface().empty(); })) {
        auto watch = LinkWatch::open();
        if (watch)
            watch_ = std::move(*watch);
        else
            world_.notify(Severity::error, watch.error().message);
    }
    for (Port& port : ports) {
        if (!port.carries_device()) {
            const auto carried = std::ranges::find_if(
                kept_, [&](const Kept& kept) { return kept.ports.front()->ethdev() == port.ethdev(); });
            carried->ports.push_back(&port);
            device_of_.push_back(static_cast<std::size_t>(carried - kept_.begin()));
            continue;
        }
        Kept kept{.ports = {&port}, .configured_mtu = port.device_mtu()};
        device_of_.push_back(kept_.size());
        remember_interface(kept);
        kept.link_up = has_link(kept);
        kept_.push_back(std::move(kept));
    }
}

bool PortKeeper::poll() {
    if (watch_) watch_->read();
    bool changed = false;
    for (Kept& kept : kept_) {
        const State before = kept.state;
        if (kept.state == State::serving) changed |= serve(kept);
        if (kept.state == State::leaving) changed |= leave(kept);
        if (kept.state == State::away) changed |= come_back(kept);
        changed |= kept.state != before;
    }
    return changed;
}

bool PortKeeper::serve(Kept& kept) {
    PortEvents& events = kept.ports.front()->events();
    if (events.take_reset_request()) {
        begin_to_leave(kept, Wish::reset, "the device asks for a reset");
        return true;
    }
    if (const std::string why = what_changed(kept); !why.empty()) {
        begin_to_leave(kept, Wish::reopen, why);
        return true;
    }
    const auto now = Clock::now();
    const bool due = now >= kept.link_due;
    if (!events.take_link_change() && !due && kept.ports.front()->kernel_interface().empty()) return false;
    kept.link_due = now + kLinkPeriod;
    const bool up = has_link(kept);
    if (up == kept.link_up) return false;
    kept.link_up = up;
    // What waits in its ring would else leave when the link is back, seconds late.
    if (kept.ports.front()->outlives_down()) set_enabled(kept, up);
    world_.notify(up ? Severity::info : Severity::warning,
                  fmt::format("{}: {}", name_of(kept),
                              up ? "the link is up"
                                 : "the link is down: nothing is received or sent until it is up again"));
    return true;
}

// Why the port's device has to be made anew; empty: it need not.
std::string PortKeeper::what_changed(const Kept& kept) const {
    const std::string& name = kept.ports.front()->kernel_interface();
    if (name.empty() || !watch_) return {};
    const auto* link = watch_->find(name);
    if (link == nullptr) return fmt::format("interface {} is gone", name);
    const LinkFacts& facts = link->second;
    if (link->first != kept.interface) return fmt::format("interface {} has been made again", name);
    if (!kept.ports.front()->outlives_down()) {
        if (!facts.up) return fmt::format("interface {0} is down (`ip link set {0} up`)", name);
        if (facts.downs != kept.interface_downs) return fmt::format("interface {} was down", name);
    }
    const std::uint16_t mtu = wanted_mtu(kept, *link);
    if (mtu == kept.ports.front()->device_mtu()) return {};
    return fmt::format("interface {} has an MTU of {} now{}", name, facts.mtu,
                       mtu < kept.configured_mtu
                           ? fmt::format(", below the configured {}: longer packets will be dropped too_big",
                                         kept.configured_mtu)
                           : "");
}

// A new interface of the name gets the MTU that is configured; one that the operator has changed keeps his.
std::uint16_t PortKeeper::wanted_mtu(const Kept& kept, const LinkWatch::Links::value_type& link) const {
    if (link.first != kept.interface) return kept.configured_mtu;
    const Port& port = *kept.ports.front();
    const std::uint32_t room = link.second.mtu - (port.interface_mtu() - port.device_mtu());
    return static_cast<std::uint16_t>(std::min<std::uint32_t>(room, kept.configured_mtu));
}

std::string PortKeeper::name_of(const Kept& kept) {
    return fmt::format("port {}{}", kept.ports.front()->name(),
                       kept.ports.size() == 1 ? "" : " and the other VLANs of its device");
}

void PortKeeper::begin_to_leave(Kept& kept, Wish wish, const std::string& why) {
    kept.wish = wish;
    kept.left = Clock::now();
    kept.link_up = false;
    say(kept, why);
    set_enabled(kept, false);
    kept.generation = world_.generation();
    kept.state = State::leaving;
}

bool PortKeeper::leave(Kept& kept) {
    if (!world_.settled_since(kept.generation)) return false;
    if (kept.wish == Wish::reset && kept.ports.front()->reset(pools_)) {
        enable(kept);
        return true;
    }
    kept.ports.front()->close();
    kept.state = State::away;
    kept.retry_at = {};
    kept.backoff = kFirstRetry;
    return true;
}

bool PortKeeper::come_back(Kept& kept) {
    std::uint16_t mtu = kept.configured_mtu;
    if (const std::string& name = kept.ports.front()->kernel_interface(); watch_ && !name.empty()) {
        const auto* link = watch_->find(name);
        // A new interface that weir takes over it sets up itself; one that was set down stays down.
        const bool sets_up =
            link != nullptr && link->first != kept.interface && kept.ports.front()->takes_over();
        if (link == nullptr || (!link->second.up && !sets_up)) {
            say(kept, link == nullptr ? fmt::format("interface {} is gone", name)
                                      : fmt::format("interface {0} is down (`ip link set {0} up`)", name));
            kept.retry_at = {};
            return false;
        }
        mtu = wanted_mtu(kept, *link);
    }
    const auto now = Clock::now();
    if (now < kept.retry_at) return false;
    if (auto opened = kept.ports.front()->reopen(mtu, pools_); !opened) {
        say(kept, opened.error().message);
        kept.retry_at = now + kept.backoff;
        kept.backoff = std::min(kept.backoff * 2, kLongestRetry);
        return false;
    }
    enable(kept);
    return true;
}

// The device is there and no worker knows it yet.
void PortKeeper::enable(Kept& kept) {
    for (Port* port : kept.ports) {
        if (!port->carries_device()) port->follow_carrier(*kept.ports.front());
        hand_out_(*port);
    }
    remember_interface(kept);
    set_enabled(kept, true);
    kept.state = State::serving;
    kept.wish = Wish::none;
    kept.said.clear();
    kept.link_up = has_link(kept);
    ++kept.resets;
    const auto away = std::chrono::duration_cast<milliseconds>(Clock::now() - kept.left);
    world_.notify(Severity::info, fmt::format("{} serves again, after {} ms{}", name_of(kept), away.count(),
                                              kept.link_up ? "" : "; the link is down"));
}

void PortKeeper::set_enabled(const Kept& kept, bool enabled) {
    for (const Port* port : kept.ports) {
        const auto id = static_cast<PortId>(port->index());
        if (enabled) world_.set_port(id, MacAddress{port->mac()}, port->mtu(), port->can_send_chains());
        world_.set_port_enabled(id, enabled);
    }
    world_.republish();
}

void PortKeeper::remember_interface(Kept& kept) {
    const auto* link = watch_ ? watch_->find(kept.ports.front()->kernel_interface()) : nullptr;
    if (link == nullptr) return;
    kept.interface = link->first;
    kept.interface_downs = link->second.downs;
}

bool PortKeeper::has_link(const Kept& kept) const {
    if (!watch_ || kept.ports.front()->kernel_interface().empty()) return kept.ports.front()->link_up();
    const auto* link = watch_->find(kept.ports.front()->kernel_interface());
    return link != nullptr && link->second.running;
}

void PortKeeper::say(Kept& kept, const std::string& why) {
    if (why == kept.said) return;
    kept.said = why;
    world_.notify(
        Severity::warning,
        fmt::format("{}: {}; it receives and sends nothing until it serves again", name_of(kept), why));
}

}  // namespace weir
