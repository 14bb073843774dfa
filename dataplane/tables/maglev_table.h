// Slot -> pool-local index of a backend: Maglev consistent hashing (Eisenbud et al., NSDI'16, 3.4).
//
// Theory of operation. Every member has its own permutation of the M slots (M prime: offset + i * skip). The
// members take turns; at its turn a member takes the next slot of its permutation that is still free, and a
// member of weight w gets turns in proportion to w. Shares are therefore exact to about one slot, and a
// member that leaves frees its own slots while few of the others move.
//
// Purity: the table is a function of {selection key, pool name, members by name, weight, eligible} and M. It
// holds indices into the members sorted by name (all of them, eligible or not), never BackendIds.
//
// Built by the control core, immutable afterwards; read by any worker.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "dataplane/net/aes_hash.h"
#include "dataplane/net/prefetch.h"

namespace weir {

struct MaglevMember {
    std::string_view name;
    std::uint32_t weight;  // 0: no slot
    bool eligible;         // false: no slot
};

class MaglevTable {
  public:
    static constexpr std::uint32_t kDefaultSlots = 65'537;
    static constexpr std::uint32_t kNoMember = 0xffff;
    static constexpr std::uint32_t kMaxMembers = 65'535;

    MaglevTable() = default;  // no slots: lookup() says kNoMember

    // `members` sorted by name, names unique, at most kMaxMembers; `slots` prime and below 2^31. Without an
    // eligible member of weight > 0 every slot says kNoMember.
    static MaglevTable build(const HashKey& key, std::string_view pool, std::span<const MaglevMember> members,
                             std::uint32_t slots);
    // 65,537 for up to 650 members, else the next prime >= 100 x members.
    static std::uint32_t slots_for(std::size_t members);
    static bool is_prime(std::uint32_t n);

    // Index of the member that a selection hash falls to, or kNoMember. Uses the low 32 bits of the hash.
    [[nodiscard]] std::uint32_t lookup(std::uint64_t hash) const noexcept {
        return slots_.empty() ? kNoMember : slots_[slot_of(hash)];
    }
    [[nodiscard]] std::uint32_t slot_of(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(((hash & 0xffff'ffffu) * slots_.size()) >> 32);
    }
    [[gnu::always_inline]] void prefetch_slot(std::uint64_t hash) const noexcept {
        if (!slots_.empty()) prefetch(&slots_[slot_of(hash)]);
    }
    [[nodiscard]] std::span<const std::uint16_t> slots() const noexcept { return slots_; }
    // FNV-1a over M and the slots: equal on two appliances exactly if their tables are. Exported as a metric.
    [[nodiscard]] std::uint64_t checksum() const noexcept { return checksum_; }

  private:
    std::vector<std::uint16_t> slots_;
    std::uint64_t checksum_ = 0;
};

}  // namespace weir
