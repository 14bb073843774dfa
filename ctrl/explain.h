// Why a flow gets its backend, as data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ctrl/config/config.h"
#include "ctrl/tables/id_registry.h"
#include "dataplane/net/address.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

struct FlowQuestion {
    IpProtocol protocol = IpProtocol::tcp;
    IpAddress client, vip;
    std::uint16_t client_port = 0, vip_port = 0;
};

struct FlowExplanation {
    // Empty strings and zeros from the point on where the packet would be dropped or go to the kernel; then
    // `dropped` or `punted` says so.
    std::string dropped;  // name of the drop reason, or empty
    std::string punted;   // port whose own address it is: the kernel's on its host interface; or empty
    std::string service, pool, backend, backend_address, mode, port, next_hop_mac;
    std::uint64_t hash = 0;
    std::uint32_t slot = 0, slots = 0;
    std::uint32_t backend_slots = 0;  // of the backend that was chosen
    std::string hashed;               // what the hash was taken over
    std::uint16_t overhead = 0;       // bytes of tunnel headers
};

// What workers read, and the names for it: offline or running.
struct ExplainedWorld {
    const Config& config;
    const IdRegistry& ids;
    const ForwardingSnapshot& snapshot;
    Tick now{};  // while somebody starts slowly; offline nobody does
};

// A new flow: nothing is in any flow table.
[[nodiscard]] FlowExplanation explain_flow(const ExplainedWorld& world, const FlowQuestion& question);

}  // namespace weir
