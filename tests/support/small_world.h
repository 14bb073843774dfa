// Worlds for pipeline tests: a configuration as a value, its workers' pipelines, and a wire for what they
// send. The test is the clock, the devices and the poll loop.
#pragma once

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "ctrl/world.h"
#include "dataplane/pipeline.h"
#include "dataplane/table_memory.h"
#include "drivers/huge_memory.h"
#include "drivers/mbuf_bytes.h"
#include "tests/ctrl/config_builder.h"
#include "tests/support/packet_builder.h"

namespace weir::test {

// received = forwarded + answered + punted + sum(dropped).
inline std::uint64_t dropped_in_all(const WorkerCounters& counters) {
    std::uint64_t sum = 0;
    for (const Counter& reason : counters.dropped) sum += reason.value();
    return sum;
}
inline void expect_accounted(const WorkerCounters& counters) {
    EXPECT_EQ(counters.received.value(), counters.forwarded.value() + counters.answered.value() +
                                             counters.punted.value() + dropped_in_all(counters));
}
inline std::uint64_t dropped(const WorkerCounters& counters, DropReason reason) {
    return counters.dropped[static_cast<std::size_t>(reason)].value();
}

inline void add_neighbor(Config& config, std::string_view address, std::string_view mac_text,
                         std::string port = "edge") {
    NeighborConfig entry;
    entry.address = ip(address);
    entry.mac = mac(mac_text);
    entry.port = std::move(port);
    config.neighbors.push_back(entry);
}

// Services of every mode and family on the port "edge", TCP and UDP on L4 port 80; two backends each, both
// families of outer header:
//   203.0.113.N and 2001:db8:100::N with N = 1 dsr, 2 ipip over IPv4, 3 ipip over IPv6, 4 gue over IPv4,
//   5 gue over IPv6
inline constexpr unsigned kModes = 5;
inline Config all_modes_config() {
    Config config = edge_config();
    add_neighbor(config, "fd00:1::12", "02:00:00:00:06:12");
    const ForwardingMode modes[kModes] = {ForwardingMode::dsr, ForwardingMode::ipip, ForwardingMode::ipip,
                                          ForwardingMode::gue, ForwardingMode::gue};
    for (unsigned n = 1; n <= kModes; ++n) {
        const std::string name = "mode" + std::to_string(n);
        const bool v6 = n == 3 || n == 5;
        config.pools.push_back(pool(name, {backend("a", v6 ? "fd00:1::11" : "10.1.1.11"),
                                           backend("b", v6 ? "fd00:1::12" : "10.1.1.12")}));
        config.pools.back().table_size = 251;
        for (const bool vip_v6 : {false, true}) {
            const std::string vip = (vip_v6 ? "2001:db8:100::" : "203.0.113.") + std::to_string(n);
            config.services.push_back(service(name + (vip_v6 ? "-v6" : "-v4"), vip, name, modes[n - 1]));
            config.services.back().udp = true;
        }
    }
    return config;
}
inline IpAddress mode_vip(unsigned mode, bool v6) {
    return ip((v6 ? "2001:db8:100::" : "203.0.113.") + std::to_string(mode));
}
// A client of either family with a flow of its own for each number.
inline Tuple client_flow(std::uint32_t number, const IpAddress& vip, std::uint16_t l4_port = 80) {
    Tuple tuple;
    const auto high = static_cast<std::uint8_t>(number >> 24), low = static_cast<std::uint8_t>(number >> 16);
    if (vip.is_v4()) {
        tuple.source = IpAddress(Ipv4Address{Be32(0xc612'0000u + (std::uint32_t{high} << 8) + low)});
    } else {
        Ipv6Address source = ip("2001:db8:9::1").v6();
        source.bytes[12] = high;
        source.bytes[13] = low;
        tuple.source = IpAddress(source);
    }
    tuple.destination = vip;
    tuple.source_port = static_cast<std::uint16_t>(number);
    tuple.destination_port = l4_port;
    return tuple;
}

// A pool of frames of its own; says when one is missing.
class FramePool {
  public:
    explicit FramePool(const char* name, unsigned frames = 8191)
        : pool_(rte_pktmbuf_pool_create(name, frames, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY)) {
        if (pool_ == nullptr) std::abort();
    }
    ~FramePool() { rte_mempool_free(pool_); }
    FramePool(const FramePool&) = delete;
    FramePool& operator=(const FramePool&) = delete;

    [[nodiscard]] rte_mbuf* frame(std::span<const std::uint8_t> bytes) const {
        rte_mbuf* made = to_mbuf(*pool_, bytes);
        if (made == nullptr) std::abort();
        return made;
    }
    // A chain cut at the offsets `cuts`, ascending; the segments after the first start at odd places of their
    // buffers and what surrounds them is filled, so that a read past a segment's end shows.
    [[nodiscard]] rte_mbuf* chain(std::span<const std::uint8_t> bytes, std::vector<std::size_t> cuts) const {
        cuts.push_back(bytes.size());
        rte_mbuf* head = nullptr;
        std::size_t at = 0;
        for (const std::size_t cut : cuts) {
            rte_mbuf* segment = rte_pktmbuf_alloc(pool_);
            if (segment == nullptr) std::abort();
            std::fill_n(static_cast<std::uint8_t*>(segment->buf_addr), segment->buf_len, std::uint8_t{0xee});
            if (head != nullptr) segment->data_off = static_cast<std::uint16_t>(segment->data_off + 1);
            const auto length = static_cast<std::uint16_t>(cut - at);
            std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length,
                        rte_pktmbuf_mtod(segment, std::uint8_t*));
            segment->data_len = length;
            segment->pkt_len = length;
            if (head == nullptr)
                head = segment;
            else if (rte_pktmbuf_chain(head, segment) != 0)
                std::abort();
            at = cut;
        }
        return head;
    }
    [[nodiscard]] unsigned in_use() const { return rte_mempool_in_use_count(pool_); }

  private:
    rte_mempool* pool_;
};

// Takes frames, up to a limit, as a device with a full ring does.
struct TestWire {
    std::uint32_t room = ~0u;
    std::vector<rte_mbuf*> taken;
    std::uint32_t send(std::span<rte_mbuf*> packets) {
        const auto count = std::min<std::size_t>(room, packets.size());
        taken.insert(taken.end(), packets.begin(), packets.begin() + static_cast<std::ptrdiff_t>(count));
        room -= static_cast<std::uint32_t>(count);
        return static_cast<std::uint32_t>(count);
    }
};

// One worker without a thread: its table, its counters, its reader of the published snapshot. It takes a new
// snapshot when the test says so.
class SteppedWorker {
  public:
    SteppedWorker(WorkerCounters& counters, std::uint64_t flows, std::uint64_t clients = 0,
                  std::uint32_t id = 0, WorkerRings* rings = nullptr, std::uint64_t sessions = 0)
        : memory_(
              std::move(*HugeMemory::allocate(TableMemory::bytes_for({flows, clients, sessions}), false))),
          tables_(TableMemory::in(memory_.bytes(), {flows, clients, sessions})),
          counters_(counters),
          rings_(rings),
          id_(id),
          pipeline_(tables_.flows, HashKey::zero(), counters, {},
                    {.memory = tables_.clients, .worker = id, .rings = rings},
                    {.memory = tables_.sessions, .worker = id, .rings = rings}) {}

    void join(const World& world, std::uint32_t id) { reader_ = {world.published(), id}; }
    // What the poll loop does at its start.
    void latch() {
        reader_.quiescent();
        world_ = reader_.latch();
        counters_.snapshot_generation.set(world_->generation);
    }
    // A world that the test has made of a latched one, and keeps; until the next latch().
    void use(const ForwardingSnapshot& world) { world_ = &world; }
    // In bursts; what leaves is in wire(), freed by take() or its taker.
    void run(std::span<rte_mbuf* const> packets, Tick now, PortId port = PortId{0}) {
        wires_.resize(world_->ports.size());
        for (std::size_t at = 0; at < packets.size(); at += kBurstSize) {
            Burst burst(port);
            burst.size = static_cast<std::uint32_t>(std::min<std::size_t>(kBurstSize, packets.size() - at));
            std::copy_n(packets.begin() + static_cast<std::ptrdiff_t>(at), burst.size, burst.packet.begin());
            run_burst(burst, now);
        }
    }
    // One burst from its ring. How many packets that was.
    std::uint32_t take_over(Tick now) {
        wires_.resize(world_->ports.size());
        std::array<rte_mbuf*, kBurstSize> packets;
        const std::uint32_t count = rings_ == nullptr ? 0 : rings_->take(id_, packets);
        pipeline_.take_over(std::span(packets).first(count), *world_, now,
                            [&](Burst& burst) { run_burst(burst, now); });
        return count;
    }
    // Everything sent since, as bytes, by port and in order.
    [[nodiscard]] std::vector<Bytes> take(PortId port = PortId{0}) {
        std::vector<Bytes> sent;
        if (wires_.size() <= index(port)) return sent;
        for (rte_mbuf* packet : wires_[index(port)].taken) {
            sent.push_back(bytes_of(*packet));
            rte_pktmbuf_free(packet);
        }
        wires_[index(port)].taken.clear();
        return sent;
    }
    void sweep(Tick now, std::uint32_t buckets) { pipeline_.sweep(*world_, now, buckets); }
    void sweep_all(Tick now) { sweep(now, pipeline_.flows().buckets()); }

    [[nodiscard]] TestWire& wire(PortId port = PortId{0}) {
        if (wires_.size() <= index(port)) wires_.resize(index(port) + 1u);
        return wires_[index(port)];
    }
    [[nodiscard]] WorkerCounters& counters() { return counters_; }
    [[nodiscard]] const Pipeline& pipeline() const { return pipeline_; }
    [[nodiscard]] const ForwardingSnapshot& world() const { return *world_; }

  private:
    void run_burst(Burst& burst, Tick now) {
        pipeline_.run(burst, *world_, now);
        pipeline_.flush(*world_, [this](PortId egress) -> TestWire& { return wires_[index(egress)]; });
    }

    HugeMemory memory_;
    TableMemory tables_;
    WorkerCounters& counters_;
    WorkerRings* rings_;
    std::uint32_t id_;
    Pipeline pipeline_;
    Published<ForwardingSnapshot>::Reader reader_;
    const ForwardingSnapshot* world_ = nullptr;
    std::vector<TestWire> wires_;
};

// A World and its stepped workers.
class SmallWorld {
  public:
    explicit SmallWorld(Config config, std::vector<PortFacts> ports = edge_facts(), unsigned workers = 1,
                        std::uint64_t flows = 4096, bool derive_unknown_macs = true,
                        std::uint64_t clients = 0, std::uint64_t sessions = 0)
        : counters_(workers), world_(options(std::move(ports), derive_unknown_macs), counters_.all()) {
        apply(std::move(config));
        if ((clients != 0 || sessions != 0) && workers > 1) rings_ = std::move(*WorkerRings::make(workers));
        for (unsigned w = 0; w < workers; ++w) {
            workers_.push_back(
                std::make_unique<SteppedWorker>(counters_[w], flows, clients, w, rings_.get(), sessions));
            workers_.back()->join(world_, w);
            workers_.back()->latch();
        }
    }
    // In force for workers from their next latch() on.
    void apply(Config config) {
        const auto report = world_.apply(std::move(config));
        if (!report) {
            ADD_FAILURE() << report.error().message;
            std::abort();
        }
    }
    // In force at once.
    void reload(Config config) {
        apply(std::move(config));
        latch_all();
    }
    void latch_all() {
        for (const auto& worker : workers_) worker->latch();
    }
    [[nodiscard]] SteppedWorker& worker(std::size_t i = 0) { return *workers_[i]; }
    [[nodiscard]] std::size_t workers() const { return workers_.size(); }
    [[nodiscard]] World& world() { return world_; }
    // Null: one worker, or none that remembers clients.
    [[nodiscard]] WorkerRings* rings() { return rings_.get(); }
    // Until nothing is in them any more.
    void empty_rings(Tick now) {
        for (bool any = true; any;) {
            any = false;
            for (const auto& worker : workers_) any |= worker->take_over(now) != 0;
        }
    }

    // The gauges against the tables, and every packet against its verdict.
    void expect_consistent() {
        for (const auto& worker : workers_) {
            WorkerCounters& counters = worker->counters();
            if (rings_ == nullptr) expect_accounted(counters);
            std::uint64_t by_backend = 0, by_service = 0;
            for (std::uint32_t id = 0; id < world_.ids().backend_ids(); ++id)
                by_backend += counters.backends[id].active_flows.value();
            for (std::uint32_t id = 0; id < world_.ids().service_ids(); ++id)
                by_service += counters.services[id].active_flows.value();
            EXPECT_EQ(by_backend, worker->pipeline().flows().entries());
            EXPECT_EQ(by_service, worker->pipeline().flows().entries());
        }
    }

  private:
    static WorldOptions options(std::vector<PortFacts> ports, bool derive_unknown_macs) {
        WorldOptions made;
        made.ports = std::move(ports);
        made.derive_unknown_macs = derive_unknown_macs;
        return made;
    }
    CountingWorkers counters_;
    World world_;
    std::unique_ptr<WorkerRings> rings_;
    std::vector<std::unique_ptr<SteppedWorker>> workers_;
};

}  // namespace weir::test
