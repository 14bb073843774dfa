// A world of mode nat, one service of each family on two backends, with stepped workers.
#pragma once

#include "drivers/rss.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/frame_tuple.h"
#include "tests/support/small_world.h"

namespace weir::test {

inline constexpr std::uint16_t kBackendPort = 8080;

inline Config nat_config(L4PortRange range = {32'768, 65'535}) {
    Config config = edge_config();
    config.ports[0].snat.addresses = {ip("10.1.0.2"), ip("fd00:1::2")};
    config.ports[0].snat.ports = range;
    config.pools = {pool("web", {backend("a", "10.1.1.11"), backend("b", "10.1.1.12")}),
                    pool("web6", {backend("a", "fd00:1::11"), backend("b", "fd00:1::12")})};
    add_neighbor(config, "fd00:1::12", "02:00:00:00:06:12");
    for (PoolConfig& pool : config.pools) {
        pool.table_size = 251;
        for (BackendConfig& backend : pool.backends.change()) backend.port = kBackendPort;
    }
    config.services = {service("web", "203.0.113.10", "web", ForwardingMode::nat),
                       service("web6", "2001:db8:100::10", "web6", ForwardingMode::nat)};
    for (ServiceConfig& service : config.services) service.udp = true;
    return config;
}

// A TCP segment with these flags, or a datagram.
inline Bytes l4_frame(bool udp, const Tuple& tuple, std::uint8_t flags, std::size_t length,
                      bool with_checksum, const Link& link) {
    return udp ? udp_frame(tuple, length, with_checksum, link) : tcp_frame(tuple, flags, length, link);
}

class NatTest : public DriversTest {
  protected:
    void start(const Config& config, unsigned workers = 1, std::uint64_t sessions = 4096) {
        world_ = std::make_unique<SmallWorld>(config, edge_facts(), workers, 16'384, true, 0, sessions);
    }
    void TearDown() override {
        world_.reset();
        EXPECT_EQ(frames_.in_use(), 0u);
    }
    static Tuple flow(std::uint32_t number, bool v6 = false) {
        return client_flow(number, ip(v6 ? "2001:db8:100::10" : "203.0.113.10"));
    }
    // What came of the frame in the end: one frame, or none.
    std::optional<Bytes> send(unsigned worker, const Bytes& frame, Tick now) {
        rte_mbuf* packet = frames_.frame(frame);
        world_->worker(worker).run({&packet, 1}, now);
        if (world_->rings() != nullptr) world_->empty_rings(now);
        std::optional<Bytes> sent;
        for (unsigned w = 0; w < world_->workers(); ++w)
            for (Bytes& out : world_->worker(w).take()) {
                EXPECT_FALSE(sent);
                sent = std::move(out);
            }
        return sent;
    }
    // The worker whose queue a NIC would choose.
    unsigned queue_of(const Bytes& frame) {
        rte_mbuf* packet = frames_.frame(frame);
        const RetaTable reta(static_cast<std::uint16_t>(world_->workers()));
        const std::uint16_t queue = rss_queue_of_frame(*packet, kRssKey, reta);
        rte_pktmbuf_free(packet);
        return queue;
    }
    std::uint64_t drops(DropReason reason) {
        std::uint64_t sum = 0;
        for (unsigned w = 0; w < world_->workers(); ++w) sum += dropped(world_->worker(w).counters(), reason);
        return sum;
    }
    std::uint64_t sum(Counter WorkerCounters::*counter) {
        std::uint64_t total = 0;
        for (unsigned w = 0; w < world_->workers(); ++w)
            total += (world_->worker(w).counters().*counter).value();
        return total;
    }

    FramePool frames_{"nat", 8191};
    std::unique_ptr<SmallWorld> world_;
};

}  // namespace weir::test
