// A port's host interface, its twin in the kernel: a TAP with the port's MAC and MTU, whose carrier follows
// the port's link and on which the kernel owns the port's addresses. What the kernel sends on it leaves by
// the port; what the host thread writes to it the kernel takes as received by the port.
//
// The kernel completes checksums itself and cuts what is too long: the TAP offers no offload. The interface
// and all that is on it vanish with this object and with the process, however that ends.
//
// Control thread. Only the descriptor's reads and writes are the host thread's.
#pragma once

#include <compare>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "drivers/netlink.h"
#include "drivers/port_spec.h"
#include "drivers/result.h"

namespace weir {

struct HostTapSpec {
    std::string name;  // 1 to 15 characters; no interface has it
    MacBytes mac{};
    std::uint16_t mtu = 1500;            // bytes of an IP packet, the port's
    std::vector<std::string> addresses;  // "10.1.0.2/24"
    bool carrier = true;
};

// Of next hops behind the port, as texts of addresses and prefixes.
struct HostRoute {
    std::string prefix, via;
    std::uint32_t table = Netlink::kMainTable;
    auto operator<=>(const HostRoute&) const = default;
};
struct HostNeighbor {
    std::string address;
    MacBytes mac{};
    auto operator<=>(const HostNeighbor&) const = default;
};

class HostTap {
  public:
    // Makes it, sets it up and gives it its addresses. Error: what is missing (the TUN driver, the
    // capability, the name) or what the kernel refused; nothing is left behind.
    [[nodiscard]] static Result<HostTap> open(const HostTapSpec& spec);

    HostTap(HostTap&& other) noexcept;
    HostTap& operator=(HostTap&&) = delete;
    ~HostTap();

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    // The kernel's number for it, of the namespace it was made in.
    [[nodiscard]] int index() const noexcept { return index_; }
    // Non-blocking; one Ethernet frame a read(2) or write(2).
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    // Sentences for the log: what the machine's settings will do to it.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

    [[nodiscard]] Result<void> set_mac(const MacBytes& mac);
    [[nodiscard]] Result<void> set_mtu(std::uint16_t mtu);
    [[nodiscard]] Result<void> set_carrier(bool up);
    // The kernel's routes and permanent neighbours that are weir's become exactly these. Sentences
    // about those that it refused, which are tried again next time.
    [[nodiscard]] std::vector<std::string> install(const std::vector<HostRoute>& routes,
                                                   const std::vector<HostNeighbor>& neighbors);
    // What somebody who has set it down and up again has cost it (routes, neighbours, IPv6 addresses) comes
    // back. Ask about once a second. Sentences as install() has them.
    [[nodiscard]] std::vector<std::string> restore();

  private:
    HostTap(std::string name, int descriptor, int index, Netlink netlink) noexcept;
    [[nodiscard]] Result<void> set_up(const HostTapSpec& spec);
    [[nodiscard]] Error named(Error error) const;
    void look_at_machine(const HostTapSpec& spec);

    std::string name_;
    int descriptor_;  // -1: moved from
    int index_;
    Netlink netlink_;
    std::vector<std::string> notes_;
    bool was_up_ = true;
    std::vector<std::string> addresses_;
    std::set<HostRoute> routes_;  // in the kernel
    std::set<HostNeighbor> neighbors_;
};

}  // namespace weir
