// Small integers that must not be mixed up, each a type of its own.
#pragma once

#include <cstdint>
#include <type_traits>

namespace weir {

// Means the same service in every snapshot; reused only as BackendId is. DESIGN.md section 3, "Ids".
enum class ServiceId : std::uint16_t {};
inline constexpr std::uint32_t kMaxServices = 65'535;
inline constexpr ServiceId kNoService{0xffff};

// Means the same backend in every snapshot: flow entries outlive snapshots. 20 bits, so that it fits an
// entry of the flow table. Reused only after every worker has completed a sweep of its flow table begun
// after the removal (ctrl/tables/id_registry.h).
enum class BackendId : std::uint32_t {};
inline constexpr std::uint32_t kMaxBackends = (1u << 20) - 1;
inline constexpr BackendId kNoBackend{kMaxBackends};

// Means the same pool in every snapshot.
enum class PoolId : std::uint32_t {};
inline constexpr PoolId kNoPool{0xffff'ffff};

// Index of a port in weir's configuration, in the file's order (not DPDK's port id). A port is a DPDK ethdev,
// or one VLAN of it.
enum class PortId : std::uint8_t {};
inline constexpr std::uint32_t kMaxPorts = 16;
inline constexpr PortId kNoPort{0xff};

inline constexpr std::uint32_t kMaxWorkers = 64;

template <class Id>
requires std::is_enum_v<Id>
constexpr auto index(Id id) noexcept { return static_cast<std::underlying_type_t<Id>>(id); }

}  // namespace weir
