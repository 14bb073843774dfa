#include "tests/bench/bench_world.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "dataplane/packet.h"
#include "tests/ctrl/config_builder.h"

namespace weir::bench {

namespace {

constexpr std::uint64_t kFewestSlots = 65'536;
constexpr std::uint32_t kSweepWhenBusy = 1;  // as worker.cc

// Backends on the port's own link, of the outer family; dsr ones are of the packets' family.
IpAddress backend_address(Family family, std::uint32_t number) {
    if (family == Family::v4) return IpAddress(Ipv4Address{Be32(0x0a01'0100u + number)});
    Ipv6Address address = ip("fd00:1::").v6();
    address.bytes[13] = 1;
    address.bytes[14] = static_cast<std::uint8_t>(number >> 8);
    address.bytes[15] = static_cast<std::uint8_t>(number);
    return IpAddress(address);
}

PoolConfig bench_pool(const Row& row, std::uint32_t number) {
    const Family family = row.mode == ForwardingMode::dsr ? row.family : row.outer;
    std::vector<BackendConfig> backends;
    for (std::uint32_t b = 0; b < row.backends; ++b) {
        BackendConfig made;
        made.name = "b" + std::to_string(b);
        made.address = backend_address(family, number * row.backends + b);
        backends.push_back(std::move(made));
    }
    return pool("pool" + std::to_string(number), std::move(backends));
}

Config config_of(const Row& row) {
    Config config = edge_config();
    config.neighbors.clear();  // derived instead
    config.routes.clear();
    for (std::uint32_t p = 0; p < (row.own_pools ? row.services : 1); ++p)
        config.pools.push_back(bench_pool(row, p));
    for (std::uint32_t s = 0; s < row.services; ++s) {
        ServiceConfig made;
        made.name = "s" + std::to_string(s);
        made.vip = row.family == Family::v4 ? IpAddress(vip_v4(s)) : IpAddress(vip_v6(s));
        made.tcp = made.udp = true;
        made.ports = {{kServicePort, kServicePort, false}};
        made.forwarding = row.mode;
        made.pool = "pool" + std::to_string(row.own_pools ? s : 0);
        config.services.push_back(std::move(made));
    }
    return config;
}

WorldOptions world_options() {
    WorldOptions options;
    options.ports = {{.mac = kWeirMac, .mtu = 1500}};
    options.derive_unknown_macs = true;
    return options;
}

// Not the selection key, as in production; fixed, so that every run fills the same buckets.
HashKey flow_key() {
    std::array<std::uint8_t, kHashKeyBytes> secret{};
    secret[0] = 1;
    return HashKey(secret);
}

// A device that is never full and forgets at once.
struct NullWire {
    std::uint32_t send(std::span<rte_mbuf*> packets) noexcept {
        return static_cast<std::uint32_t>(packets.size());
    }
};

}  // namespace

std::uint64_t slots_for(std::uint64_t flows) noexcept { return std::max(2 * flows, kFewestSlots); }

HugeMemory memory_or_exit(std::size_t bytes) {
    auto memory = HugeMemory::allocate(bytes, true);
    if (memory) return std::move(*memory);
    std::fprintf(stderr, "bench: %s\n", memory.error().message.c_str());
    std::exit(2);
}

BenchWorker::BenchWorker(const Row& row, std::uint64_t slots)
    : memory_(memory_or_exit(FlowTable::bytes_for(slots))),
      counters_(std::make_unique<WorkerCounters>()),
      workers_{counters_.get()},
      world_(world_options(), workers_),
      pipeline_(memory_.bytes().first(FlowTable::bytes_for(slots)), flow_key(), *counters_) {
    if (const auto applied = world_.apply(config_of(row)); !applied) {
        std::fprintf(stderr, "bench: row %s: %s\n", row.name.c_str(), applied.error().message.c_str());
        std::exit(2);
    }
    snapshot_ = world_.published().current();
}

void BenchWorker::run(std::span<rte_mbuf* const> packets, Tick now) noexcept {
    NullWire wire;
    for (std::size_t at = 0; at < packets.size(); at += kBurstSize) {
        Burst burst(PortId{0});
        burst.size = static_cast<std::uint32_t>(std::min<std::size_t>(kBurstSize, packets.size() - at));
        // What a device writes into the burst; then as stages/receive.h.
        std::copy_n(packets.begin() + static_cast<std::ptrdiff_t>(at), burst.size, burst.packet.begin());
        for (std::uint32_t i = 0; i < burst.size; ++i) rte_prefetch0(frame_start(burst.packet[i]));
        pipeline_.run(burst, *snapshot_, now);
        pipeline_.flush(*snapshot_, [&wire](PortId) -> NullWire& { return wire; });
        pipeline_.sweep(*snapshot_, now, kSweepWhenBusy);
    }
}

}  // namespace weir::bench
