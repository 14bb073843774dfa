#include "drivers/huge_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

namespace weir {
namespace {

constexpr std::size_t kHugePage = 2u << 20;

std::size_t round_up(std::size_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

// madvise succeeds even where the administrator has switched transparent huge pages off.
bool transparent_pages_are_off() {
    std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
    std::string modes;
    return !std::getline(file, modes) || modes.find("[never]") != std::string::npos;
}

}  // namespace

Result<HugeMemory> HugeMemory::allocate(std::size_t bytes, bool want_hugepages) {
    const std::size_t usable = round_up(bytes == 0 ? 1 : bytes);
    constexpr int kProtection = PROT_READ | PROT_WRITE;
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (want_hugepages) {
        constexpr int kTwoMegabytes = 21 << MAP_HUGE_SHIFT;
        void* map = mmap(nullptr, usable, kProtection, kFlags | MAP_HUGETLB | kTwoMegabytes, -1, 0);
        if (map != MAP_FAILED)
            return HugeMemory(map, usable, static_cast<std::byte*>(map), usable, Kind::hugepages);
    }
    // One huge page more, so that an aligned start lies within.
    const std::size_t mapped = usable + kHugePage;
    void* map = mmap(nullptr, mapped, kProtection, kFlags | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return machine_error("no " + std::to_string(usable >> 20) + " MB of memory for a worker's tables (" +
                             std::strerror(errno) + "): lower dataplane.flows_per_worker");
    const auto skip = round_up(reinterpret_cast<std::uintptr_t>(map)) - reinterpret_cast<std::uintptr_t>(map);
    std::byte* start = static_cast<std::byte*>(map) + skip;
    const bool transparent = madvise(start, usable, MADV_HUGEPAGE) == 0 && !transparent_pages_are_off();
    return HugeMemory(map, mapped, start, usable, transparent ? Kind::transparent : Kind::ordinary);
}

HugeMemory::HugeMemory(HugeMemory&& other) noexcept
    : map_(std::exchange(other.map_, nullptr)),
      mapped_(other.mapped_),
      start_(other.start_),
      usable_(other.usable_),
      kind_(other.kind_) {}

HugeMemory::~HugeMemory() {
    if (map_ != nullptr) munmap(map_, mapped_);
}

}  // namespace weir
