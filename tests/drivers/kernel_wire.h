// Wires of the kernel (veth pairs) for tests in a network namespace of their own. Root only.
#pragma once

#include <fstream>
#include <string>

#include "tests/drivers/own_network.h"
#include "tests/support/raw_socket.h"

namespace weir::test {

// weir's end and the kernel's, up. Without IPv6, which would add frames of its own.
inline void make_wire(const std::string& one, const std::string& other, unsigned mtu = 1500) {
    shell("ip link add " + one + " type veth peer name " + other);
    for (const std::string& end : {one, other}) {
        std::ofstream("/proc/sys/net/ipv6/conf/" + end + "/disable_ipv6") << 1;
        shell("ip link set " + end + " mtu " + std::to_string(mtu) + " up");
    }
}

}  // namespace weir::test
