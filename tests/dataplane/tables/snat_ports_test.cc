#include "dataplane/tables/snat_ports.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>

#include "tests/dataplane/figure.h"
#include "tests/support/toeplitz_reference.h"

namespace weir {
namespace {

constexpr std::size_t kRetaSize = 128;  // ENA's

std::vector<std::uint16_t> reta_of(std::uint16_t queues) {
    std::vector<std::uint16_t> reta(kRetaSize);
    for (std::size_t i = 0; i < reta.size(); ++i) reta[i] = static_cast<std::uint16_t>(i % queues);
    return reta;
}

// Source and destination address, source and destination port, as RSS hashes them.
template <std::size_t kAddress>
struct Tuple {
    static constexpr std::size_t kPortOffset = 2 * kAddress + 2;
    std::array<std::uint8_t, 2 * kAddress + 4> bytes;

    explicit Tuple(std::mt19937& random) {
        for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    }
    [[nodiscard]] std::uint32_t hash_with(std::uint16_t port) {
        bytes[kPortOffset] = static_cast<std::uint8_t>(port >> 8);
        bytes[kPortOffset + 1] = static_cast<std::uint8_t>(port);
        return toeplitz_reference::hash(bytes);
    }
};

template <std::size_t kAddress>
class SnatSteering {
  public:
    // A NIC with so many queues: every reply to a chosen port lands on its owner's queue. Returns the share
    // of the range that the worker with the fewest ports, and with it all workers, can give to one backend.
    static double judge(std::uint16_t queues, L4PortRange range, std::uint32_t replies) {
        const auto reta = reta_of(queues);
        const SnatPorts ports(range, toeplitz_reference::port_bits(8 * Tuple<kAddress>::kPortOffset), reta);
        std::mt19937 random(queues);
        std::uint32_t least = range.size();
        for (std::uint32_t i = 0; i < replies; ++i) {
            Tuple<kAddress> reply(random);
            const std::uint32_t constant = reply.hash_with(0);
            const std::uint32_t worker = i % queues;
            const std::uint16_t port =
                ports.choose(worker, constant, random(), 1, [](std::uint16_t) { return true; });
            if (port == 0) continue;  // the one place was behind the end of a list
            EXPECT_TRUE(range.contains(port));
            const std::uint32_t hash = reply.hash_with(port);
            if (reta[hash % kRetaSize] != worker || ports.owner(hash) != worker) return 0;
            ++landed;
            least = std::min(least, ports.ports_of(worker, constant));
        }
        return static_cast<double>(least) * queues / range.size();
    }
    static inline std::uint32_t landed = 0;
};

TEST(SnatPorts, EveryReplyLandsOnTheOwnersQueue) {
    for (const std::uint16_t queues : std::initializer_list<std::uint16_t>{1, 2, 4, 8, 16}) {
        SnatSteering<4>::landed = SnatSteering<16>::landed = 0;
        const double v4 = SnatSteering<4>::judge(queues, {1'024, 65'535}, 20'000);
        const double v6 = SnatSteering<16>::judge(queues, {1'024, 65'535}, 20'000);
        EXPECT_GT(SnatSteering<4>::landed, 15'000u);
        EXPECT_GT(SnatSteering<16>::landed, 15'000u);
        EXPECT_GE(v4, 0.95) << queues;
        EXPECT_GE(v6, 0.95) << queues;
        print_figure(
            "%u queues: %u + %u of so many replies land on their owner's queue; usable ports at least %.2f "
            "%% (v4), "
            "%.2f %% (v6)",
            queues, SnatSteering<4>::landed, SnatSteering<16>::landed, 100 * v4, 100 * v6);
    }
}

TEST(SnatPorts, TheWorkersTogetherUseEveryPortOfAnyRange) {
    for (const L4PortRange range :
         {L4PortRange{1'024, 65'535}, L4PortRange{32'768, 65'535}, L4PortRange{40'000, 40'002}})
        for (const std::uint16_t queues : std::initializer_list<std::uint16_t>{1, 3, 16}) {
            const SnatPorts ports(range, toeplitz_reference::port_bits(80), reta_of(queues));
            std::set<std::uint16_t> all;
            for (std::uint32_t worker = 0; worker < queues; ++worker) {
                std::uint32_t seen = 0;
                const std::uint16_t none =
                    ports.choose(worker, 0x1234'5678, worker, 1u << 20, [&](std::uint16_t port) {
                        EXPECT_TRUE(all.insert(port).second) << "two workers, or one twice";
                        ++seen;
                        return false;
                    });
                EXPECT_EQ(none, 0);
                EXPECT_EQ(seen, ports.ports_of(worker, 0x1234'5678));
            }
            EXPECT_EQ(all.size(), range.size());
        }
}

TEST(SnatPorts, TriesAreBounded) {
    const SnatPorts ports({1'024, 65'535}, toeplitz_reference::port_bits(80), reta_of(2));
    std::uint32_t tried = 0;
    EXPECT_EQ(ports.choose(0, 1, 99, 50, [&](std::uint16_t) { return ++tried, false; }), 0);
    EXPECT_LE(tried, 50u);
    EXPECT_GE(tried, 45u);
}

}  // namespace
}  // namespace weir
