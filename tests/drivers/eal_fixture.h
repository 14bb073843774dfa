// One EAL for a whole test process, because DPDK starts only once; made when first asked for.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "drivers/eal.h"
#include "drivers/mbuf_bytes.h"
#include "drivers/mbuf_pool.h"
#include "drivers/port.h"
#include "drivers/worker_cpus.h"
#include "tests/drivers/says.h"

namespace weir::test {

inline EalOptions unprivileged_eal() {
    EalOptions options;
    options.program = "weir-test";
    options.control_cpu = usable_cpus().front();
    options.hugepages = false;
    options.memory = 256u << 20;
    return options;
}

// The process's EAL and pools: no hugepages, no shared files, no privileges.
class DriversTest : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        static Result<Eal> eal = Eal::start(unprivileged_eal());
        ASSERT_TRUE(eal) << eal.error().message;
    }
    static PoolDemand small_demand() {
        PoolDemand demand;
        demand.workers = 2;
        demand.rx_descriptors = demand.tx_descriptors = 256;
        return demand;
    }
    static PortSpec spec(std::string name, std::string device, std::uint16_t queues = 1) {
        PortSpec wanted;
        wanted.name = std::move(name);
        wanted.device = std::move(device);
        wanted.queues = queues;
        wanted.rx_descriptors = wanted.tx_descriptors = 256;
        return wanted;
    }
    // Everything a queue gives within `polls` polls, as bytes.
    static std::vector<std::vector<std::uint8_t>> receive_all(const RxQueue& queue, int polls = 64) {
        std::vector<std::vector<std::uint8_t>> frames;
        for (int poll = 0; poll < polls; ++poll) {
            rte_mbuf* burst[32];
            const auto count = queue.receive(burst);
            for (std::uint16_t i = 0; i < count; ++i) {
                frames.push_back(bytes_of(*burst[i]));
                rte_pktmbuf_free(burst[i]);
            }
        }
        return frames;
    }
    static std::vector<std::uint8_t> frame_of(std::size_t length, std::uint8_t first) {
        std::vector<std::uint8_t> bytes(length);
        for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::uint8_t>(first + i * 7);
        return bytes;
    }

    MbufPools pools_{small_demand()};
};

}  // namespace weir::test
