// What the machine has of hugepages. Start-up only; any thread.
#pragma once

#include <cstdint>
#include <string>

namespace weir {

struct Hugepages {
    std::uint64_t free_bytes = 0;   // over all page sizes that are mounted, from /sys/kernel/mm/hugepages
    std::uint64_t stale_bytes = 0;  // held by files that a dead instance of this prefix left; DPDK frees them
    bool mounted = false;           // a hugetlbfs is mounted
    bool writable = false;          // one that this process may make files in
};

// rte_eal_cleanup (22.11) leaves the files, and so the pages, until the next start of the same prefix: nobody
// else could have them. Only when no instance of the prefix lives.
void remove_hugepage_files(const std::string& file_prefix);

[[nodiscard]] Hugepages look_at_hugepages(const std::string& file_prefix);

}  // namespace weir
