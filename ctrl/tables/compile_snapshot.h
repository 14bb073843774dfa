// Config -> ForwardingSnapshot: the step "compile" of read -> validate -> diff -> compile -> publish ->
// reclaim.
//
// Theory of operation. CompiledWorld remembers what the previous snapshot was made from, beside the parts
// made. Compiling again looks at what it is told has changed (a ConfigDelta, pools whose drains have ended,
// backends whose traffic was set), compares inputs there, and makes anew only what they changed:
//
//   pool         looked at if its configuration, a drain, a backend's traffic or the way to its backends
//                changed
//   MaglevTable  if {members by name, weight, eligible} or M changed (key and pool name are fixed)
//   PoolTable    the same, or a member's BackendId or ramp, or the hash's input
//   BackendChunk if the BackendInput of one of its 1,024 backends changed, once per mode in use. What the
//                kernel changes (routes, neighbours) is looked at by backend, and no pool is.
//   ServiceTable if a rule changed
//
// Everything else is shared with the previous snapshot by reference (ServiceTable and the lists of pointers
// by copy), so that a backend's change of health costs its pool, whatever there is besides. A backend that
// drains keeps its record, but is no member; one of weight 0 is a member without slots.
//
// The control thread only.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/tables/config_delta.h"
#include "ctrl/tables/header_template.h"
#include "ctrl/tables/id_registry.h"
#include "ctrl/tables/member_traffic.h"
#include "ctrl/tables/next_hops.h"
#include "dataplane/tables/forwarding_snapshot.h"

namespace weir {

// A pool as it was compiled: inputs first, then what came of them.
struct CompiledPool {
    struct Member {
        std::string name;
        std::uint32_t weight = 0;
        bool eligible = true;
        BackendId id = kNoBackend;
        Ramp ramp{};
    };
    static constexpr std::size_t kNowhere = ~std::size_t{0};
    std::size_t place = kNowhere;  // in Config::pools
    std::vector<Member> members;   // sorted by name
    std::vector<BackendId> ids;    // of every record, draining ones included; sorted
    std::uint32_t slots = 0;       // M
    std::uint64_t checksum = 0;    // of its name and its Maglev table
};

// Of one range of ports, for each family.
struct SnatPortTables {
    std::shared_ptr<const SnatPorts> v4, v6;
};

class CompiledWorld {
  public:
    // `derive`: NextHops' derive_unknown_macs. Key and option hold for the life of the process.
    // `kernel`: NextHops'.
    explicit CompiledWorld(const HashKey& key, bool derive = false, const KernelWays* ways = nullptr)
        : selection_key(key), derive_unknown_macs(derive), kernel(ways) {}

    HashKey selection_key;
    bool derive_unknown_macs;
    const KernelWays* kernel;
    std::optional<NextHops> hops;
    std::vector<PortFacts> ports;
    std::map<std::string, PoolId, std::less<>> pool_ids;   // of the configuration's pools, by name
    std::vector<CompiledPool> pools;                       // by PoolId
    std::vector<std::shared_ptr<const PoolTable>> tables;  // by PoolId; null where absent
    std::uint64_t checksum = 0;                            // ForwardingSnapshot::checksum
    std::vector<BackendInput> inputs;                      // by BackendId
    std::array<std::vector<std::shared_ptr<const BackendChunk>>, kForwardingModes> chunks;
    std::bitset<kForwardingModes> modes;  // used by a service
    bool has_dnat = false;                // some backend is, or has been, reached in mode dnat
    std::vector<ServiceRule> rules;
    ServiceTable services;
    std::vector<ServiceRecord> service_records;                                    // by ServiceId
    std::vector<IpAddress> service_vips;                                           // by ServiceId
    std::map<std::pair<std::uint16_t, std::uint16_t>, SnatPortTables> snat_ports;  // by first and last port
    std::vector<std::vector<ServiceId>> services_of_pools;                         // by PoolId

    [[nodiscard]] bool is_placed(PoolId id) const {
        return index(id) < pools.size() && pools[index(id)].place != CompiledPool::kNowhere;
    }
};

struct CompileInput {
    const ConfigDelta& delta;          // from the configuration compiled last into the same world, to this
    const IdRegistry& ids;             // delta.next() is assigned
    std::span<const PortFacts> ports;  // by PortId; as many as the configuration has
    const TrafficPlan& traffic;
    std::uint64_t generation = 1;
    std::span<const PoolId> drained{};  // what IdRegistry::end_drains() returned for this generation
    const WaysChange* ways = nullptr;   // what KernelWays::take_change() returned; null: nothing changed
    std::bitset<kMaxPorts> disabled_ports{};
    std::uint16_t workers = 1;  // that share the SNAT ports; fixed
};

// How much was made anew: tests and the reload's log line.
struct CompileWork {
    std::size_t pools = 0;    // PoolTables
    std::size_t maglevs = 0;  // of them, with a new MaglevTable
    std::size_t chunks = 0;   // BackendChunks, over all modes
    std::size_t records = 0;  // backends whose input changed
};

// Preconditions: validate_config accepted the configuration; assign() accepted its size.
[[nodiscard]] std::unique_ptr<const ForwardingSnapshot> compile_snapshot(const CompileInput& input,
                                                                         CompiledWorld& world,
                                                                         CompileWork* work = nullptr);

// For the replay's report and for warnings: next hops with a derived MAC, and backends to which no packet can
// be sent, with the reason, in the order of addresses. Each once.
struct NextHopRemarks {
    struct Derived {
        IpAddress address;
        MacAddress mac;
        PortId port;
        friend auto operator<=>(const Derived&, const Derived&) = default;
    };
    std::vector<Derived> derived;
    std::vector<std::string> unresolved;  // sentences
};
[[nodiscard]] NextHopRemarks remark_next_hops(const CompiledWorld& world, const Config& config);

}  // namespace weir
