// When each VIP is announced on which port: as soon as it is active and the port's link is up, a few times,
// and never faster than a link and its hosts bear.
//
// Theory of operation. What has never been said waits in one queue; what is to be said again waits in one
// queue for each family, each of which is in the order of its times, because the intervals are constant.
// tick() sends from the first queue before the others: a VIP that nobody knows is worth more than one that
// was announced a second ago. What is withdrawn, or whose port went down, leaves the queues at once, so that
// all that waits may be sent.
//
// How often: RFC 5227 1.1 (ANNOUNCE_NUM 2, ANNOUNCE_INTERVAL 2 s); RFC 4861 10 (MAX_NEIGHBOR_ADVERTISEMENT 3,
// RETRANS_TIMER 1 s).
//
// The control thread.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"

namespace weir {

// A VIP, and where it may be dialled.
struct AnnouncedVip {
    IpAddress address;
    std::optional<PortId> only;  // the VIP is this port's own address; else on all ports
};

class Announcer {
  public:
    using Time = std::chrono::steady_clock::time_point;
    // Sends one announcement. False: not now, it is tried again with the next tick.
    using Send = std::function<bool(PortId port, const IpAddress& vip)>;

    // On all ports together; in one tick no more than kMostAtOnce.
    static constexpr std::chrono::milliseconds kSpacing{1};
    static constexpr int kMostAtOnce = 20;

    // Every port counts as down.
    Announcer(std::size_t ports, Send send);

    // These are in force: the ones that were not before are announced.
    void activate(const std::vector<AnnouncedVip>& vips, Time now);
    // Not a word more about any VIP that is not among these.
    void withdraw_all_but(const std::vector<AnnouncedVip>& vips);

    // The link went up (all VIPs are announced there anew), or down (nothing is sent any more). What has not
    // changed is ignored.
    void set_link(PortId port, bool up, Time now);
    [[nodiscard]] bool is_up(PortId port) const { return up_[index(port)]; }

    // Sends what is due. Call it every few milliseconds.
    void tick(Time now);

    // Announcements that wait, repetitions not yet due included.
    [[nodiscard]] std::size_t waiting() const;

  private:
    struct Entry {
        IpAddress vip;
        PortId port{};
        unsigned left = 0;  // times to send it
        Time due;
    };
    using Queue = std::deque<Entry>;
    void announce(const IpAddress& vip, PortId port, Time now);
    template <class Predicate>
    void drop(Predicate unwanted);
    bool send_from(Queue& queue, Time now);

    Send send_;
    std::vector<bool> up_;                               // by port
    std::map<IpAddress, std::optional<PortId>> active_;  // AnnouncedVip
    Queue first_;
    std::array<Queue, 2> again_;  // IPv4, IPv6
    std::optional<Time> last_tick_;
    std::chrono::steady_clock::duration credit_{kMostAtOnce * kSpacing};
};

}  // namespace weir
