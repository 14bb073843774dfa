// The immutable world that workers read: one atomic pointer to it (dataplane/published.h), latched once per
// poll loop. Unchanged parts are shared between snapshots by reference; the raw pointers on the packet path
// are kept alive by the shared_ptrs beside them.
//
// Built by the control core (ctrl/tables/compile_snapshot.h), never changed after publication.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"
#include "dataplane/net/aes_hash.h"
#include "dataplane/net/vlan_tags.h"
#include "dataplane/state/flow_state.h"
#include "dataplane/state/session.h"
#include "dataplane/tables/backend_table.h"
#include "dataplane/tables/maglev_table.h"
#include "dataplane/tables/ramps.h"
#include "dataplane/tables/service_table.h"
#include "dataplane/tables/snat_ports.h"
#include "dataplane/tables/sticky_rule.h"

namespace weir {

// What the hash of a new flow is taken over.
enum class SelectionInput : std::uint8_t { five_tuple, source_ip };

// A pool as a service sees it. Shared by every service of the pool and between snapshots.
struct PoolTable {
    PoolId id;
    SelectionInput input;
    MaglevTable maglev;              // -> index into members
    std::vector<BackendId> members;  // sorted by backend name
    Ramps ramps;                     // by member
    StickyRule sticky;               // if on, the hash is over the client's prefix, whatever `input` says
};

struct ServiceRecord {
    PoolId pool = kNoPool;
    ForwardingMode mode{};             // chooses the BackendView
    const PoolTable* table = nullptr;  // kept alive by ForwardingSnapshot::pools; null: no such service
};

// An address that weir translates to.
struct SnatAddress {
    IpAddress address;
    SnatId id{};
};

// What weir answers on a port, and with which MAC it sends.
struct PortRecord {
    MacAddress mac;
    bool enabled = true;  // false: no worker may touch its queues; frames for it are dropped `port_down`
    bool any_destination_mac = false;  // replay of a port whose device's MAC nobody knows
    bool can_send_chains = true;       // the device takes multi-segment mbufs
    VlanTags vlan;                     // put in front of what is sent
    std::uint16_t mtu = 1500;
    bool has_host = false;               // the kernel has a twin of the port: what is its own goes there
    std::vector<IpAddress> addresses;    // its own: the kernel's on the twin, else answered like VIPs
    std::vector<SnatAddress> snat;       // of what mode nat sends out of it
    bool resets_when_exhausted = false;  // whom no SNAT port is left for gets a RST
    bool takes_foreign = false;          // mode dnat is in use: packets to anybody may be replies
    // By family; null where `snat` is empty and nothing foreign is taken.
    std::shared_ptr<const SnatPorts> snat_ports_v4, snat_ports_v6;

    [[nodiscard]] bool takes_replies() const noexcept { return takes_foreign || !snat.empty(); }
};

struct ForwardingSnapshot {
    std::uint64_t generation = 0;
    HashKey selection_key = HashKey::zero();
    TimeoutTable timeouts;
    ServiceTable services;
    std::vector<ServiceRecord> service_records;  // by ServiceId
    std::array<BackendView, kForwardingModes> backends;
    std::vector<std::shared_ptr<const PoolTable>> pools;  // by PoolId; null where absent
    bool has_sticky_pools = false;
    SessionTimeouts session_timeouts;
    std::vector<IpAddress> service_vips;    // by ServiceId
    std::vector<IpAddress> snat_addresses;  // by SnatId
    // By PortId: all that transmit asks for of a packet to no backend is by which port it leaves.
    std::array<BackendRecord, kMaxPorts> exits;
    std::vector<PortRecord> ports;  // by PortId
    // Sum over the pools of FNV-1a of the name and the Maglev checksum: equal on two appliances that would
    // pick the same backends.
    std::uint64_t checksum = 0;

    [[nodiscard]] const BackendView& view_of(const ServiceRecord& service) const noexcept {
        return backends[static_cast<std::size_t>(service.mode)];
    }
};

}  // namespace weir
