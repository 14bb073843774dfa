// What the machine has of hugepages. Start-up only; any thread.
#pragma once

#include <cstdint>
#include <string>

namespace weir {

struct Hugepages {
    std::uint64_t free_bytes = 0;   // over all page sizes that are mounted, from /sys/kernel/mm/hugepages
    std::uint64_t stale_bytes = 0;  // held by files that a dead instance of this prefix left; DPDK frees them
    bool mounted = false;           // a hugetlbfs is mounted
};

[[nodiscard]] Hugepages look_at_hugepages(const std::string& file_prefix);

}  // namespace weir
