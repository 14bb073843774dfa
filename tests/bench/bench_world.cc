#include "tests/bench/bench_world.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "dataplane/packet.h"

namespace weir::bench {

namespace {

constexpr std::uint64_t kFewestSlots = 65'536;
constexpr std::uint32_t kSweepWhenBusy = 1;  // as worker.cc

PoolConfig bench_pool(const Row& row, std::uint32_t number) {
    std::vector<BackendConfig> backends;
    for (std::uint32_t b = 0; b < row.backends; ++b) {
        BackendConfig made;
        made.name = "b" + std::to_string(b);
        made.address = backend_address(row, number * row.backends + b);
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
    if (row.mode == ForwardingMode::nat) {
        config.ports[0].snat.addresses = {snat_address(row.family)};
        // Flows without answers and their sessions end at the same time, so that as many are alive of either.
        config.timeouts.nat_tcp_transitory = config.timeouts.tcp_opening;
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

TableSizes sizes_of(const Row& row, std::uint64_t slots) {
    const std::uint64_t sessions = std::max<std::uint64_t>(row.flows + row.flows / 4, kFewestSlots);
    return {.flows = slots, .clients = 0, .sessions = row.mode == ForwardingMode::nat ? sessions : 0};
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

IpAddress backend_address(const Row& row, std::uint32_t number) {
    const bool tunnelled = row.mode != ForwardingMode::dsr && row.mode != ForwardingMode::nat;
    if ((tunnelled ? row.outer : row.family) == Family::v4)
        return IpAddress(Ipv4Address{Be32(0x0a01'0100u + number)});
    Ipv6Address address = ip("fd00:1::").v6();
    address.bytes[13] = 1;
    address.bytes[14] = static_cast<std::uint8_t>(number >> 8);
    address.bytes[15] = static_cast<std::uint8_t>(number);
    return IpAddress(address);
}

IpAddress snat_address(Family family) { return ip(family == Family::v4 ? "10.1.0.2" : "fd00:1::2"); }

BenchWorld::BenchWorld(const Row& row, unsigned workers)
    : counters_(workers), world_(world_options(), counters_.all()) {
    if (const auto applied = world_.apply(config_of(row)); !applied) {
        std::fprintf(stderr, "bench: row %s: %s\n", row.name.c_str(), applied.error().message.c_str());
        std::exit(2);
    }
    snapshot_ = world_.published().current();
}

BenchWorker::BenchWorker(BenchWorld& world, const Row& row, std::uint64_t slots, std::uint32_t id,
                         WorkerRings* rings)
    : memory_(memory_or_exit(TableMemory::bytes_for(sizes_of(row, slots)))),
      tables_(TableMemory::in(memory_.bytes(), sizes_of(row, slots))),
      counters_(world.counters(id)),
      snapshot_(world.snapshot()),
      rings_(rings),
      id_(id),
      pipeline_(tables_.flows, flow_key(), counters_, {}, {},
                {.memory = tables_.sessions, .key = flow_key(), .worker = id, .rings = rings}) {}

void BenchWorker::run_burst(Burst& burst, Tick now) noexcept {
    NullWire wire;
    pipeline_.run(burst, snapshot_, now);
    pipeline_.flush(snapshot_, [&wire](PortId) -> NullWire& { return wire; });
    pipeline_.sweep(snapshot_, now, kSweepWhenBusy);
}

void BenchWorker::run(std::span<rte_mbuf* const> packets, Tick now) noexcept {
    for (std::size_t at = 0; at < packets.size(); at += kBurstSize) {
        Burst burst(PortId{0});
        burst.size = static_cast<std::uint32_t>(std::min<std::size_t>(kBurstSize, packets.size() - at));
        // What a device writes into the burst; then as stages/receive.h.
        std::copy_n(packets.begin() + static_cast<std::ptrdiff_t>(at), burst.size, burst.packet.begin());
        for (std::uint32_t i = 0; i < burst.size; ++i) rte_prefetch0(frame_start(burst.packet[i]));
        run_burst(burst, now);
    }
}

std::uint32_t BenchWorker::take_over(Tick now) noexcept {
    std::array<rte_mbuf*, kBurstSize> packets;
    const std::uint32_t count = rings_->take(id_, packets);
    if (count == 0) return 0;
    pipeline_.take_over(std::span(packets).first(count), snapshot_, now,
                        [&](Burst& burst) { run_burst(burst, now); });
    return count;
}

}  // namespace weir::bench
