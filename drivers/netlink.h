// Changes to the kernel's interfaces, addresses, routes and neighbours, over rtnetlink (libnl-route-3).
// Watching what the kernel has is another's business (ctrl/kernel).
//
// Each call asks the kernel and waits for its answer: microseconds, never the network. One thread at a time
// per object. Addresses and prefixes are texts, as an operator writes them ("10.1.0.2/24"); an error is one
// sentence without the interface's name, which the caller knows.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "drivers/port_spec.h"
#include "drivers/result.h"

struct nl_sock;

namespace weir {

// An address that the kernel owns.
struct LocalAddress {
    int interface = 0;
    std::string address;  // without its prefix's length
};

// A rule of policy routing, for one family.
struct MarkRule {
    bool v4 = true;
    std::uint32_t mark = 0, table = 0, priority = 0;
    auto operator<=>(const MarkRule&) const = default;
};

class Netlink {
  public:
    // The protocol of weir's routes (`ip route show proto 87`), so that BIRD and FRR can tell them from
    // others.
    static constexpr std::uint8_t kRouteProtocol = 0x57;
    // Behind every route that an operator or DHCP has set: a default route of weir's file never takes the
    // machine's own way out.
    static constexpr std::uint32_t kRouteMetric = 20'000;
    static constexpr std::uint32_t kMainTable = 254;

    // Of the network namespace that the calling thread is in.
    [[nodiscard]] static Result<Netlink> open();

    // Links, by interface index.
    [[nodiscard]] Result<void> set_mac(int interface, const MacBytes& mac);
    [[nodiscard]] Result<void> set_mtu(int interface, std::uint16_t mtu);
    [[nodiscard]] Result<void> set_up(int interface);
    // Set up, by whomever; its carrier does not matter. False also when it is gone.
    [[nodiscard]] bool is_up(int interface);
    // One of IPV4_DEVCONF_* (linux/ip.h), as /proc/sys/net/ipv4/conf/<interface> has them.
    [[nodiscard]] Result<void> set_ipv4_setting(int interface, unsigned setting, std::uint32_t value);

    // An IPv6 address serves at once, without duplicate address detection. One that is there already is no
    // error.
    [[nodiscard]] Result<void> add_address(int interface, const std::string& prefix);
    [[nodiscard]] Result<void> remove_address(int interface, const std::string& prefix);
    // All addresses of all interfaces.
    [[nodiscard]] Result<std::vector<LocalAddress>> addresses();

    // `via` counts as on-link, whatever the interface's addresses are. An older route of weir's is replaced.
    [[nodiscard]] Result<void> add_route(int interface, const std::string& prefix, const std::string& via,
                                         std::uint32_t table = kMainTable);
    // Without a next hop, as if all of the prefix were on the interface's link.
    [[nodiscard]] Result<void> add_link_route(int interface, const std::string& prefix);
    // Of either kind. One that is not there any more is no error.
    [[nodiscard]] Result<void> remove_route(int interface, const std::string& prefix,
                                            std::uint32_t table = kMainTable);
    // What bears the mark is looked up in `table`, if that has a route for it. One that is there already, or
    // not there any more, is no error.
    [[nodiscard]] Result<void> add_mark_rule(const MarkRule& rule);
    [[nodiscard]] Result<void> remove_mark_rule(const MarkRule& rule);

    // Permanent: the kernel neither asks for it nor forgets it. An older entry is replaced.
    [[nodiscard]] Result<void> add_neighbor(int interface, const std::string& address, const MacBytes& mac);
    [[nodiscard]] Result<void> remove_neighbor(int interface, const std::string& address);

  private:
    struct FreeSocket {
        void operator()(nl_sock* socket) const noexcept;
    };
    using Socket = std::unique_ptr<nl_sock, FreeSocket>;
    explicit Netlink(Socket socket) noexcept : socket_(std::move(socket)) {}

    Socket socket_;
};

}  // namespace weir
