// An ethdev made of rings (net_ring): the test puts frames into `in` and takes what was sent from `out`.
#pragma once

#include <rte_eth_ring.h>
#include <rte_ring.h>

#include <cstdint>
#include <string>

namespace weir::test {

// Two rings in, two rings out.
struct RingWires {
    rte_ring* in[2];
    rte_ring* out[2];
    std::uint16_t ethdev;

    explicit RingWires(const std::string& name, unsigned slots = 256) {
        for (unsigned i = 0; i < 2; ++i) {
            in[i] = rte_ring_create((name + "_in" + std::to_string(i)).c_str(), slots, SOCKET_ID_ANY, 0);
            out[i] = rte_ring_create((name + "_out" + std::to_string(i)).c_str(), slots, SOCKET_ID_ANY, 0);
        }
        ethdev = static_cast<std::uint16_t>(rte_eth_from_rings(name.c_str(), in, 2, out, 2, 0));
    }
    ~RingWires() {
        for (unsigned i = 0; i < 2; ++i) {
            rte_ring_free(in[i]);
            rte_ring_free(out[i]);
        }
    }
    RingWires(const RingWires&) = delete;
    RingWires& operator=(const RingWires&) = delete;
};

}  // namespace weir::test
