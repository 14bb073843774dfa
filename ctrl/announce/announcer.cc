#include "ctrl/announce/announcer.h"

#include <algorithm>
#include <set>

namespace weir {
namespace {

struct Habit {
    unsigned times;
    std::chrono::milliseconds interval;
};
constexpr Habit kArp{2, std::chrono::seconds(2)}, kNeighborAdvertisement{3, std::chrono::seconds(1)};

Habit habit_of(const IpAddress& vip) { return vip.is_v4() ? kArp : kNeighborAdvertisement; }

}  // namespace

Announcer::Announcer(std::size_t ports, Send send) : send_(std::move(send)), up_(ports, false) {}

void Announcer::announce(const IpAddress& vip, PortId port, Time now) {
    first_.push_back({.vip = vip, .port = port, .left = habit_of(vip).times, .due = now});
}

template <class Predicate>
void Announcer::drop(Predicate unwanted) {
    std::erase_if(first_, unwanted);
    for (Queue& queue : again_) std::erase_if(queue, unwanted);
}

void Announcer::activate(const std::vector<AnnouncedVip>& vips, Time now) {
    for (const AnnouncedVip& vip : vips) {
        const auto [known, is_new] = active_.insert_or_assign(vip.address, vip.only);
        if (!is_new) continue;
        for (std::size_t port = 0; port < up_.size(); ++port) {
            const PortId id{static_cast<std::uint8_t>(port)};
            if (up_[port] && vip.only.value_or(id) == id) announce(vip.address, id, now);
        }
    }
}

void Announcer::withdraw_all_but(const std::vector<AnnouncedVip>& vips) {
    std::set<IpAddress> kept;
    for (const AnnouncedVip& vip : vips) kept.insert(vip.address);
    const std::size_t withdrawn =
        std::erase_if(active_, [&](const auto& vip) { return !kept.contains(vip.first); });
    if (withdrawn != 0) drop([&](const Entry& entry) { return !kept.contains(entry.vip); });
}

void Announcer::set_link(PortId port, bool up, Time now) {
    if (up_[index(port)] == up) return;
    up_[index(port)] = up;
    if (!up) {
        drop([&](const Entry& entry) { return entry.port == port; });
        return;
    }
    for (const auto& [vip, only] : active_)
        if (only.value_or(port) == port) announce(vip, port, now);
}

// False: nothing is due there, or it cannot be sent now.
bool Announcer::send_from(Queue& queue, Time now) {
    if (queue.empty() || queue.front().due > now) return false;
    Entry entry = queue.front();
    if (!send_(entry.port, entry.vip)) return false;
    queue.pop_front();
    if (--entry.left == 0) return true;
    entry.due = now + habit_of(entry.vip).interval;
    again_[entry.vip.is_v4() ? 0 : 1].push_back(entry);
    return true;
}

void Announcer::tick(Time now) {
    const Time::duration most = kMostAtOnce * kSpacing;
    if (last_tick_) credit_ = std::min(most, credit_ + (now - *last_tick_));
    last_tick_ = now;
    while (credit_ >= kSpacing &&
           (send_from(first_, now) || send_from(again_[0], now) || send_from(again_[1], now)))
        credit_ -= kSpacing;
}

std::size_t Announcer::waiting() const { return first_.size() + again_[0].size() + again_[1].size(); }

}  // namespace weir
