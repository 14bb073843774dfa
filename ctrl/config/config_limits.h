// What the configuration allows, where the tables do not say it (dataplane/ids.h, maglev_table.h).
#pragma once

#include <cstdint>

#include "ctrl/config/config.h"

namespace weir {

inline constexpr std::int64_t kMaxCpu = 1'023;
inline constexpr std::uint64_t kMinMemory = std::uint64_t{64} << 20, kMaxMemory = std::uint64_t{1} << 40;
// Below are those of well-known services.
inline constexpr std::uint16_t kMinSnatPort = 1'024;
inline constexpr std::int64_t kMinFlowsPerWorker = 1'024, kMaxFlowsPerWorker = 67'108'864;
inline constexpr Duration kMinTimeout{100}, kMaxTimeout{24 * 3'600'000};

// IPv4's least MTU (RFC 791), the largest of ENA; IPv6's least (RFC 8200).
inline constexpr std::int64_t kMinMtu = 68, kMaxMtu = 9'216, kMinMtuV6 = 1'280;
inline constexpr std::size_t kMaxPortAddresses = 32, kMaxNeighbors = 65'536, kMaxRoutes = 1'024;
inline constexpr std::size_t kMaxInterfaceName = 15;  // IFNAMSIZ - 1 (linux/if.h)

inline constexpr std::int64_t kMaxWeight = 1'000;
// A pool's Maglev table: prime. The largest prime below 2^24.
inline constexpr std::int64_t kMinTableSize = 3, kMaxTableSize = 16'777'213;
inline constexpr std::size_t kMaxPools = 65'535;

// Health checks. A probe more often than ten times a second is load, not a check.
inline constexpr Duration kMinProbeInterval{100}, kMaxProbeInterval{3'600'000}, kMinProbeTimeout{10};
inline constexpr std::int64_t kMaxThreshold = 100;

// Stickiness shorter than a second is none. ELB's slow start ends at 15 minutes.
inline constexpr Duration kMinStickiness{1'000}, kMaxSlowStart{3'600'000};
inline constexpr std::int64_t kMaxMinimumHealthy = 65'535;

}  // namespace weir
