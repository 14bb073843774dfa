// Zeroed memory for the large tables of one worker. Committed page by page when first touched, so that the
// worker that touches it first gets it on its own NUMA node. Start-up only; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "drivers/result.h"

namespace weir {

class HugeMemory {
  public:
    enum class Kind : std::uint8_t {
        hugepages,    // reserved 2 MB pages
        transparent,  // the kernel is asked for huge pages and gives them when it can
        ordinary,     // 4 KB pages: more TLB misses
    };

    // `want_hugepages`: try reserved pages first. Falls back without an error; kind() tells.
    static Result<HugeMemory> allocate(std::size_t bytes, bool want_hugepages);

    HugeMemory(HugeMemory&& other) noexcept;
    HugeMemory& operator=(HugeMemory&&) = delete;
    ~HugeMemory();

    // At least as long as asked, aligned to 2 MB.
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {start_, usable_}; }
    [[nodiscard]] Kind kind() const noexcept { return kind_; }

  private:
    HugeMemory(void* map, std::size_t mapped, std::byte* start, std::size_t usable, Kind kind) noexcept
        : map_(map), mapped_(mapped), start_(start), usable_(usable), kind_(kind) {}

    void* map_;
    std::size_t mapped_;
    std::byte* start_;
    std::size_t usable_;
    Kind kind_;
};

}  // namespace weir
