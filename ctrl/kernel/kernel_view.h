// KernelWays kept in step with the kernel, by rtnetlink.
//
// Theory of operation. Notifications say that something has changed; what, is read anew: a change of links or
// addresses makes both and the routes stale, a change of a route that could serve a backend makes the routes
// stale, and settle() dumps what is stale. For the kernel does not announce all it does (routes that fall
// with their interface go without a word), and a dump cannot be misunderstood. Only neighbours are taken from
// the notifications themselves: those of next hops that weir wants, picked out on receipt; the rest of a
// storm is read and forgotten. Where the socket's buffer overflows (ENOBUFS) everything is stale.
//
// Wanted next hops are installed as managed neighbours (NTF_EXT_MANAGED, Linux 5.16): the kernel resolves
// them and keeps them resolved, without traffic of its own. They are "externally learned" too, which exempts
// them from the garbage collection that a flood of other neighbours sets off (gc_thresh3). An older kernel
// ignores the flag; there refresh() asks it to resolve them (NTF_USE) again and again. Permanent entries,
// such as those that stand in the file, are left as they are.
//
// While a port has no link its neighbours cannot answer, so what the kernel says of them is no news: they
// keep their last MAC. The kernel forgets them when the carrier goes, gives up asking after three seconds and
// asks a managed neighbour again seconds later; so with the link they are all asked for anew, at once.
//
// The control thread.
#pragma once

#include <bitset>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ctrl/kernel/kernel_ways.h"
#include "ctrl/kernel/netlink_socket.h"
#include "ctrl/kernel/read_netlink.h"
#include "ctrl/notify.h"
#include "drivers/result.h"

namespace weir {

class KernelView {
  public:
    static constexpr int kReceiveBuffer = 4 << 20;  // bytes; the kernel counts about 1 kB for a notification

    // `host_interfaces` by PortId: a name, or empty. The interfaces need not exist yet. What the kernel has
    // is read before this returns. `notify` may be empty.
    static Result<std::unique_ptr<KernelView>> open(const std::vector<std::string>& host_interfaces,
                                                    Notify notify, int receive_buffer = kReceiveBuffer);

    [[nodiscard]] const KernelWays& ways() const { return ways_; }
    // Readable when there is something to receive().
    [[nodiscard]] int fd() const { return events_->fd(); }

    // Takes what has arrived, a bounded part of it (fd() is readable again at once if there is more). Never
    // blocks.
    void receive();
    // There is something for settle() to do.
    [[nodiscard]] bool is_stale() const {
        return stale_interfaces_ || stale_routes_ || stale_neighbors_ || !unkept_.empty() ||
               !ways_.change().none();
    }
    // Reads what is stale and says what has changed since the last call.
    WaysChange settle();

    // More destinations. The ways there are known when this returns (neighbours: as far as the kernel has
    // them).
    void want(const std::vector<IpAddress>& destinations);
    // These alone, from now on.
    void want_only(const std::vector<IpAddress>& destinations);
    [[nodiscard]] std::size_t destinations() const { return destinations_.size(); }

    // Of a port; true at first.
    void set_link(PortId port, bool up);

    // Once a second: next hops that the kernel does not keep by itself are asked for again.
    void refresh();

    [[nodiscard]] std::uint64_t resyncs() const { return resyncs_; }
    // Notifications that concerned weir.
    [[nodiscard]] std::uint64_t changes() const { return changes_; }

  private:
    KernelView(const std::vector<std::string>& host_interfaces, Notify notify)
        : ways_(host_interfaces), notify_(std::move(notify)) {}

    void take(nl_msg& message);
    bool take_neighbor(nl_msg& message);
    [[nodiscard]] bool is_of_use(const IpPrefix& network) const;
    void read_stale();
    Result<void> read_interfaces();
    Result<void> read_routes();
    Result<void> read_neighbors();
    void want_hops();
    void keep_neighbors();
    void note_unkept();
    void ask_again(InterfaceIndex interface);
    void ask_anew(PortId port);
    // True if the kernel took it.
    bool send(const HopKey& key, int type);

    KernelWays ways_;
    Notify notify_;
    std::unique_ptr<NetlinkSocket> requests_, events_;
    std::set<IpAddress> destinations_;
    std::set<HopKey> unkept_;                   // to be installed
    std::multiset<HopKey> asked_anew_;          // deleted by weir, and the kernel has not said so yet
    std::bitset<kMaxPorts> link_down_;          // by PortId
    std::bitset<kMaxPorts> waits_for_carrier_;  // by PortId: asked before the kernel could send
    bool stale_interfaces_ = true, stale_routes_ = true, stale_neighbors_ = true;
    bool has_complained_ = false;
    std::uint64_t resyncs_ = 0, changes_ = 0;
};

}  // namespace weir
