// A worker whose ports are VLANs of one device, as `weir run` has it: the device is polled once, each port
// has its own frames, and what is sent has the tags of the port that it leaves by.
#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "tests/drivers/eal_fixture.h"
#include "tests/support/frame_kinds.h"
#include "tests/support/ring_wires.h"
#include "tests/support/running_worker.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr VlanTags kVlans[] = {{}, {100}, {300, 10}};
constexpr std::size_t kPorts = std::size(kVlans);

// Port i has 10.i.0.2/16 and a service on 203.0.113.i, by dsr to 10.i.1.11.
Config config_of_ports() {
    Config config;
    for (std::size_t i = 0; i < kPorts; ++i) {
        const std::string n = std::to_string(i + 1), name = "port" + n;
        PortConfig port;
        port.name = name;
        port.vlan = kVlans[i];
        port.addresses = {prefix("10." + n + ".0.2/16")};
        config.ports.push_back(port);
        add_neighbor(config, "10." + n + ".1.11", "02:00:00:00:0" + n + ":11", name);
        config.pools.push_back(pool(name, {backend("a", "10." + n + ".1.11")}));
        config.services.push_back(service(name, "203.0.113." + n, name, ForwardingMode::dsr));
    }
    return config;
}

Bytes tagged(Bytes frame, VlanTags tags) {
    const auto put = [&frame](std::uint16_t type, std::uint16_t id) {
        frame = with_vlan_tag(std::move(frame), type);
        put_word(frame, 14, id);
    };
    if (tags.inner != 0) put(0x8100, tags.inner);
    if (tags.any()) put(tags.inner != 0 ? 0x88a8 : 0x8100, tags.outer);
    return frame;
}

class VlanWorkerTest : public DriversTest {
  protected:
    std::vector<Port> ports_on(const RingWires& wires) {
        PortSpec wanted = spec("port1", "", 2);
        wanted.mac = MacBytes{2, 0, 0, 0, 0, 1};
        wanted.tag_bytes = 8;
        std::vector<Port> ports;
        auto carrier = Port::adopt(wires.ethdev, wanted, pools_);
        if (!carrier) {
            ADD_FAILURE() << carrier.error().message;
            std::abort();
        }
        ports.push_back(std::move(*carrier));
        for (unsigned i = 1; i < kPorts; ++i) {
            wanted.index = i;
            wanted.name = "port" + std::to_string(i + 1);
            wanted.mtu = 1400;
            ports.push_back(Port::on_device_of(ports[0], wanted));
        }
        return ports;
    }
    static std::unique_ptr<World> world_of(const std::vector<Port>& ports, CountingWorkers& counters) {
        WorldOptions options;
        for (const Port& port : ports)
            options.ports.push_back(
                {.mac = MacAddress{port.mac()}, .mtu = port.mtu(), .vlan = kVlans[port.index()]});
        auto world = std::make_unique<World>(std::move(options), counters.all());
        EXPECT_TRUE(world->apply(config_of_ports()));
        return world;
    }
    static std::vector<WorkerQueues> queues_of(std::vector<Port>& ports) {
        std::vector<WorkerQueues> queues;
        for (Port& port : ports) queues.push_back({port.rx_queue(0), port.tx_queue(0), kVlans[port.index()]});
        return queues;
    }
    // To the server of port `to`.
    static Bytes by_dsr(const Bytes& frame, std::size_t to) {
        Bytes sent = frame;
        const MacAddress server = mac("02:00:00:00:0" + std::to_string(to + 1) + ":11");
        std::copy(server.bytes.begin(), server.bytes.end(), sent.begin());
        std::copy_n(frame.begin(), 6, sent.begin() + 6);
        return sent;
    }
    // In no order: within a burst the ports go in turn.
    using Frames = std::multiset<std::string>;
    static std::string text_of(const Bytes& frame) { return {frame.begin(), frame.end()}; }
    static Frames all_of(rte_ring* ring) {
        Frames frames;
        for (void* out = nullptr; rte_ring_dequeue(ring, &out) == 0;) {
            frames.insert(text_of(bytes_of(*static_cast<rte_mbuf*>(out))));
            rte_pktmbuf_free(static_cast<rte_mbuf*>(out));
        }
        return frames;
    }
};

TEST_F(VlanWorkerTest, further_ports_of_a_device_have_a_name_and_an_mtu_of_their_own) {
    const RingWires wires("vlan_ports");
    const std::vector<Port> ports = ports_on(wires);
    EXPECT_TRUE(ports[0].carries_device());
    EXPECT_EQ(ports[0].mtu(), 1500);
    for (unsigned i = 1; i < kPorts; ++i) {
        EXPECT_FALSE(ports[i].carries_device());
        EXPECT_EQ(ports[i].index(), i);
        EXPECT_EQ(ports[i].name(), "port" + std::to_string(i + 1));
        EXPECT_EQ(ports[i].mtu(), 1400);
        EXPECT_EQ(ports[i].mac(), ports[0].mac());
        EXPECT_EQ(ports[i].ethdev(), ports[0].ethdev());
        EXPECT_TRUE(ports[i].link_up());
    }
}

TEST_F(VlanWorkerTest, each_port_has_its_frames_and_what_leaves_has_the_tags_of_its_port) {
    {
        RingWires wires("vlan_frames", 1024);
        std::vector<Port> ports = ports_on(wires);
        CountingWorkers counters(1);
        const auto world = world_of(ports, counters);
        RunningWorker worker(0, queues_of(ports), counters[0], world->published(), 8192, true);

        Frames expected;
        std::uint64_t pushed = 0;
        const auto push = [&](const Bytes& frame) {
            rte_mbuf* packet = to_mbuf(*ports[0].pool(), frame);
            ASSERT_NE(packet, nullptr);
            ASSERT_EQ(rte_ring_enqueue(wires.in[0], packet), 0);
            ++pushed;
        };
        for (std::uint32_t n = 0; n < 60; ++n)
            for (const VlanTags from : kVlans) {
                const std::size_t to = n % kPorts;
                const Bytes frame =
                    tcp_frame(client_flow(n, ip("203.0.113." + std::to_string(to + 1))), kSyn, n);
                expected.insert(text_of(tagged(by_dsr(frame, to), kVlans[to])));
                push(tagged(frame, from));
                push(tagged(frame, {101}));
            }
        const WorkerCounters& of = counters[0];
        const auto deadline = Clock::now() + std::chrono::seconds(10);
        while (of.forwarded.value() + dropped_in_all(of) < pushed && Clock::now() < deadline)
            std::this_thread::yield();
        expect_accounted(of);
        EXPECT_EQ(of.received.value(), pushed);
        EXPECT_EQ(of.forwarded.value(), expected.size());
        EXPECT_EQ(dropped(of, DropReason::vlan_tag), pushed - expected.size());
        EXPECT_EQ(all_of(wires.out[0]), expected);
        worker.stop();
    }
    EXPECT_EQ(pools_.in_use(), 0u);
}

}  // namespace
}  // namespace weir::test
