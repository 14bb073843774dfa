// A world whose pool is sticky, over several stepped workers and the rings between them.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "dataplane/tables/selection.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {

inline constexpr TickCount kMinute = 60 * kTicksPerSecond, kDuration = 10 * kMinute;

// Backends 10.1.1.N behind a VIP of each family, sticky for ten minutes.
inline Config sticky_config(const std::vector<unsigned>& numbers, unsigned prefix_v4 = 32) {
    Config config = edge_config();
    std::vector<BackendConfig> backends;
    for (const unsigned n : numbers)
        backends.push_back(backend("b" + std::to_string(n), "10.1.1." + std::to_string(n)));
    config.pools = {pool("web", std::move(backends))};
    config.pools[0].table_size = 1009;
    config.pools[0].stickiness.emplace().prefix_v4 = prefix_v4;
    config.services = {service("web", "203.0.113.10", "web"), service("web6", "2001:db8:100::10", "web")};
    for (ServiceConfig& service : config.services) service.udp = true;
    using std::chrono::seconds;
    config.timeouts = {seconds(10), seconds(350), seconds(10), seconds(120)};
    return config;
}

inline unsigned backend_of(const Bytes& frame) { return word_at(frame, 32) & 0xff; }  // outer destination

class StickyTest : public DriversTest {
  protected:
    void start(const Config& config, unsigned workers = 3, std::uint64_t clients = 4096) {
        world_ = std::make_unique<SmallWorld>(config, edge_facts(), workers, 16'384, true, clients);
    }
    void TearDown() override {
        if (world_ != nullptr) {
            expect_sums();
            world_.reset();
        }
        EXPECT_EQ(frames_.in_use(), 0u);
    }
    static Tuple flow(std::uint32_t client, std::uint16_t port, bool v6 = false) {
        Tuple tuple = client_flow(client << 16 | port, ip(v6 ? "2001:db8:100::10" : "203.0.113.10"));
        return tuple;
    }
    void give(unsigned worker, const Bytes& frame, Tick now) {
        rte_mbuf* packet = frames_.frame(frame);
        world_->worker(worker).run({&packet, 1}, now);
        ++sent_;
    }
    // Where the packet went in the end; 0 if nowhere. It leaves by the worker that it came in by.
    unsigned send(unsigned worker, const Bytes& frame, Tick now) {
        give(worker, frame, now);
        world_->empty_rings(now);
        unsigned went = 0;
        for (unsigned w = 0; w < world_->workers(); ++w)
            for (const Bytes& out : world_->worker(w).take()) {
                EXPECT_EQ(w, worker);
                EXPECT_EQ(went, 0u);
                went = backend_of(out);
            }
        return went;
    }
    std::vector<unsigned> take(unsigned worker) {
        std::vector<unsigned> went;
        for (const Bytes& out : world_->worker(worker).take()) went.push_back(backend_of(out));
        return went;
    }
    std::uint64_t sum(Counter WorkerCounters::*counter) {
        std::uint64_t total = 0;
        for (unsigned w = 0; w < world_->workers(); ++w)
            total += (world_->worker(w).counters().*counter).value();
        return total;
    }
    // Each packet was received once and has one verdict, whoever gave it.
    void expect_sums() {
        std::uint64_t dropped = 0;
        for (unsigned w = 0; w < world_->workers(); ++w)
            dropped += dropped_in_all(world_->worker(w).counters());
        EXPECT_EQ(sum(&WorkerCounters::received), sent_);
        EXPECT_EQ(sum(&WorkerCounters::forwarded) + dropped, sent_);
        world_->expect_consistent();
    }
    // Of a new client, by the snapshot alone.
    unsigned by_maglev(const Tuple& tuple) {
        const ForwardingSnapshot& world = world_->worker().world();
        const PoolTable& pool = *world.service_records[0].table;
        const BackendId id = choose_backend(
            pool,
            tuple.source.is_v4() ? prefix_hash<V4>(world.selection_key, pool.sticky, tuple.source.v4())
                                 : prefix_hash<V6>(world.selection_key, pool.sticky, tuple.source.v6()),
            Tick{});
        for (const auto& known : world_->world().ids().find_pool("web")->backends)
            if (known.id == id) return known.address.v4().bits.value() & 0xff;
        return 0;
    }
    // A worker that does not own the client, and the one that does.
    struct Pair {
        unsigned origin, owner;
    };
    Pair pair_for(const Tuple& tuple) {
        const PoolTable& pool = *world_->worker().world().service_records[0].table;
        const std::uint64_t hash =
            client_hash<V4>(HashKey::zero(), pool.id, pool.sticky.prefix_of(tuple.source.v4()));
        const unsigned owner = owner_of_client(hash, static_cast<std::uint32_t>(world_->workers()));
        return {(owner + 1) % static_cast<unsigned>(world_->workers()), owner};
    }
    // A client that Maglev gives to one of the backends `wanted` of two worlds.
    std::uint32_t client_between(unsigned before, unsigned after, const Config& then) {
        std::vector<std::uint32_t> candidates;
        for (std::uint32_t client = 1; client < 3000; ++client)
            if (by_maglev(flow(client, 1)) == before) candidates.push_back(client);
        SmallWorld other(then);
        const ForwardingSnapshot& world = other.worker().world();
        const PoolTable& pool = *world.service_records[0].table;
        for (const std::uint32_t client : candidates) {
            const BackendId id = choose_backend(
                pool, prefix_hash<V4>(world.selection_key, pool.sticky, flow(client, 1).source.v4()), Tick{});
            for (const auto& known : other.world().ids().find_pool("web")->backends)
                if (known.id == id && (known.address.v4().bits.value() & 0xff) == after) return client;
        }
        ADD_FAILURE() << "no such client";
        return 0;
    }

    FramePool frames_{"sticky", 8191};
    std::unique_ptr<SmallWorld> world_;
    std::uint64_t sent_ = 0;
};

}  // namespace weir::test
