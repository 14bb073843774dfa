// {address word, L4 port} -> service, for services on single ports of single addresses: nearly all there are.
//
// Theory of operation. One open-addressing array of 8-byte slots at a quarter load, so that 1,000 services
// take 32 KiB and a look-up is one multiplication and, mostly, one cache line. The low 48 bits of a slot are
// the key as it lies in the packet, the upper 16 its ServiceId; an empty slot is all ones, whose ServiceId is
// kNoService. The operator chooses the keys, so a plain multiplicative hash will do.
//
// Built by the control core, immutable afterwards; read by any worker.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/net/byte_order.h"

namespace weir {

class ExactServices {
  public:
    struct Entry {
        std::uint32_t address;  // any number that means one VIP
        Be16 port;
        ServiceId service;
    };

    ExactServices() : ExactServices(std::span<const Entry>{}) {}
    // Of two entries with one key the earlier wins.
    explicit ExactServices(std::span<const Entry> entries)
        : slots_(std::bit_ceil(4 * entries.size() + 2), kEmpty),
          shift_(64 - static_cast<unsigned>(std::bit_width(slots_.size() - 1))) {
        for (const Entry& entry : entries) {
            const std::uint64_t key = key_of(entry.address, entry.port);
            std::size_t at = first(key);
            while (slots_[at] != kEmpty && !holds(slots_[at], key)) at = next(at);
            if (slots_[at] == kEmpty) slots_[at] = key | std::uint64_t{index(entry.service)} << kKeyBits;
        }
    }

    // kNoService if there is none.
    [[nodiscard, gnu::always_inline]] ServiceId find(std::uint32_t address, Be16 port) const noexcept {
        const std::uint64_t key = key_of(address, port);
        std::size_t at = first(key);
        while (!holds(slots_[at], key)) {
            if (slots_[at] == kEmpty) return kNoService;
            at = next(at);
        }
        return static_cast<ServiceId>(slots_[at] >> kKeyBits);
    }

  private:
    static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
    static constexpr unsigned kKeyBits = 48;

    static std::uint64_t key_of(std::uint32_t address, Be16 port) noexcept {
        return address | std::uint64_t{port.raw()} << 32;
    }
    static bool holds(std::uint64_t slot, std::uint64_t key) noexcept {
        return (slot ^ key) << (64 - kKeyBits) == 0;
    }
    // Fibonacci hashing: the upper bits of the product depend on all of the key's.
    [[nodiscard]] std::size_t first(std::uint64_t key) const noexcept {
        return static_cast<std::size_t>((key * 0x9e37'79b9'7f4a'7c15) >> shift_);
    }
    [[nodiscard]] std::size_t next(std::size_t at) const noexcept { return (at + 1) & (slots_.size() - 1); }

    std::vector<std::uint64_t> slots_;  // size a power of two, at least one of them empty
    unsigned shift_;
};

}  // namespace weir
