#include "dataplane/tables/maglev_table.h"

#include <algorithm>
#include <cassert>
#include <string>

namespace weir {
namespace {

// A member that takes turns, and its walk over the slots.
struct Turn {
    std::uint32_t next;  // slot it looks at next
    std::uint32_t skip;
    std::uint32_t weight;
    std::uint16_t member;
    std::uint64_t credit;
};

// One bit a slot: 8 KiB for 65,537 slots stay in the first-level cache while the walks jump about in it.
class TakenSlots {
  public:
    explicit TakenSlots(std::uint32_t slots) : words_((slots + 63) / 64) {}
    // False if the slot was taken before.
    bool take(std::uint32_t slot) noexcept {
        std::uint64_t& word = words_[slot / 64];
        const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
        if ((word & bit) != 0) return false;
        word |= bit;
        return true;
    }

  private:
    std::vector<std::uint64_t> words_;
};

std::uint32_t scaled(std::uint32_t hash, std::uint32_t range) noexcept {
    return static_cast<std::uint32_t>((std::uint64_t{hash} * range) >> 32);
}

std::vector<Turn> make_turns(const HashKey& key, std::string_view pool, std::span<const MaglevMember> members,
                             std::uint32_t slots) {
    // {length of the pool's name, pool's name, member's name}: the length says where the one name ends.
    std::string name;
    for (unsigned shift = 0; shift < 32; shift += 8) name += static_cast<char>(pool.size() >> shift & 0xff);
    name += pool;
    const std::size_t prefix = name.size();

    std::vector<Turn> turns;
    turns.reserve(members.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
        if (!members[i].eligible || members[i].weight == 0) continue;
        name.resize(prefix);
        name += members[i].name;
        const std::uint64_t hash = keyed_hash(key, name);
        turns.push_back({.next = scaled(static_cast<std::uint32_t>(hash), slots),
                         .skip = 1 + scaled(static_cast<std::uint32_t>(hash >> 32), slots - 1),
                         .weight = members[i].weight,
                         .member = static_cast<std::uint16_t>(i),
                         .credit = 0});
    }
    return turns;
}

// In each round a member earns its weight and pays the greatest weight for a slot: the heaviest takes one a
// round, one of half its weight every second round.
void fill(std::vector<Turn>& turns, std::vector<std::uint16_t>& table) {
    const auto slots = static_cast<std::uint32_t>(table.size());
    const std::uint64_t price =
        std::max_element(turns.begin(), turns.end(), [](const Turn& a, const Turn& b) {
            return a.weight < b.weight;
        })->weight;
    TakenSlots taken(slots);
    std::uint32_t left = slots;
    for (;;) {
        for (Turn& turn : turns) {
            turn.credit += turn.weight;
            if (turn.credit < price) continue;
            turn.credit -= price;
            // Ends, as a slot is free and the walk of a prime number of slots visits all.
            std::uint32_t slot;
            do {
                slot = turn.next;
                const std::uint32_t sum = slot + turn.skip;
                turn.next =
                    std::min(sum, sum - slots);  // sum - slots wraps to a great number where sum < slots
            } while (!taken.take(slot));
            table[slot] = turn.member;
            if (--left == 0) return;
        }
    }
}

std::uint64_t checksum_of_slots(std::span<const std::uint16_t> slots) noexcept {
    std::uint64_t hash = 0xcbf2'9ce4'8422'2325;
    const auto mix = [&hash](std::uint64_t value, unsigned bytes) {
        for (unsigned i = 0; i < bytes; ++i) hash = (hash ^ (value >> (8 * i) & 0xff)) * 0x100'0000'01b3;
    };
    mix(slots.size(), 4);
    for (const std::uint16_t slot : slots) mix(slot, 2);
    return hash;
}

}  // namespace

MaglevTable MaglevTable::build(const HashKey& key, std::string_view pool,
                               std::span<const MaglevMember> members, std::uint32_t slots) {
    assert(is_prime(slots) && members.size() <= kMaxMembers);
    MaglevTable table;
    table.slots_.assign(slots, static_cast<std::uint16_t>(kNoMember));
    std::vector<Turn> turns = make_turns(key, pool, members, slots);
    if (!turns.empty()) fill(turns, table.slots_);
    table.checksum_ = checksum_of_slots(table.slots_);
    return table;
}

bool MaglevTable::is_prime(std::uint32_t n) {
    if (n < 2) return false;
    for (std::uint32_t divisor = 2; std::uint64_t{divisor} * divisor <= n; ++divisor)
        if (n % divisor == 0) return false;
    return true;
}

std::uint32_t MaglevTable::slots_for(std::size_t members) {
    if (members <= 650) return kDefaultSlots;
    auto slots = static_cast<std::uint32_t>(100 * members);
    while (!is_prime(slots)) ++slots;
    return slots;
}

}  // namespace weir
