// What one row of the bench is: which traffic, through which world.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/net/address.h"
#include "dataplane/tables/forwarding_mode.h"

namespace weir::bench {

enum class Order : std::uint8_t {
    random,  // every packet of a flow drawn anew
    runs,    // 32 packets of one flow, then of another
};

enum class Mix : std::uint8_t {
    established,  // segments of known flows
    fresh,        // every packet the SYN of a flow never seen; time passes so that `flows` are alive at once
    half,         // known and fresh flows in turn
    syn_flood,  // as fresh, on a table full to the last slot, half of it with confirmed flows; no time passes
};

// Mode nat sees both.
enum class Direction : std::uint8_t { to_backend, to_client };

struct Row {
    std::string name;
    ForwardingMode mode = ForwardingMode::ipip;
    Family family = Family::v4;  // the packets'
    Family outer = Family::v4;   // the tunnel's
    std::uint32_t flows = 1'000;
    Order order = Order::random;
    Mix mix = Mix::established;
    Direction direction = Direction::to_backend;
    std::uint32_t services = 1;
    std::uint32_t backends = 2;
    bool own_pools = false;          // each service its own pool of `backends`
    std::uint32_t frame_bytes = 60;  // without FCS; at least what the headers need
    IpProtocol protocol = IpProtocol::tcp;
    bool checksum_offload = false;  // the device says that the IPv4 header checksum is right
};

inline constexpr std::uint32_t kNatBackends = 64;  // of rows of mode nat, and of those beside them

}  // namespace weir::bench
