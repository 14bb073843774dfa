#include "dataplane/tables/maglev_table.h"

#include <algorithm>
#include <cassert>
#include <string>

namespace weir {
namespace {

// A member that takes turns, and its walk over the slots.
struct Walker {
    std::uint32_t next;  // slot it looks at next
    std::uint32_t skip;
    std::uint32_t weight;
    std::uint16_t member;
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

std::vector<Walker> make_walkers(const HashKey& key, std::string_view pool,
                                 std::span<const MaglevMember> members, std::uint32_t slots) {
    // {length of the pool's name, pool's name, member's name}: the length says where the one name ends.
    std::string name;
    for (unsigned shift = 0; shift < 32; shift += 8) name += static_cast<char>(pool.size() >> shift & 0xff);
    name += pool;
    const std::size_t prefix = name.size();

    std::vector<Walker> walkers;
    walkers.reserve(members.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
        if (!members[i].eligible || members[i].weight == 0) continue;
        name.resize(prefix);
        name += members[i].name;
        const std::uint64_t hash = keyed_hash(key, name);
        walkers.push_back({.next = scaled(static_cast<std::uint32_t>(hash), slots),
                           .skip = 1 + scaled(static_cast<std::uint32_t>(hash >> 32), slots - 1),
                           .weight = members[i].weight,
                           .member = static_cast<std::uint16_t>(i)});
    }
    return walkers;
}

// Who takes a slot when, as indices of walkers. In each round every walker earns its weight, and has a turn
// when it can pay the greatest weight: the heaviest in each round, one of half its weight in every second.
// Within a round they go by their order. Sorted by counting, so that a pool of one heavy and many light
// members costs as many steps as it has slots, and not as many as it has rounds times members.
class Turns {
  public:
    // Precondition: there is a walker.
    Turns(std::span<const Walker> walkers, std::uint32_t wanted) {
        for (const Walker& walker : walkers) price_ = std::max<std::uint64_t>(price_, walker.weight);
        const std::uint32_t rounds = rounds_for(walkers, wanted);
        std::vector<std::uint32_t> end(std::size_t{rounds} + 1);  // of a round's turns, once summed up
        for (const Walker& walker : walkers)
            for_each_round(walker, rounds, [&end](std::uint64_t round) { ++end[round]; });
        for (std::uint32_t round = 1; round <= rounds; ++round) end[round] += end[round - 1];
        order_.resize(end[rounds]);
        for (std::size_t i = walkers.size(); i-- > 0;)
            for_each_round(walkers[i], rounds, [this, &end, i](std::uint64_t round) {
                order_[--end[round]] = static_cast<std::uint16_t>(i);
            });
    }
    // At least as many as wanted.
    [[nodiscard]] std::span<const std::uint16_t> order() const noexcept { return order_; }

  private:
    // The least number of rounds with as many turns as wanted; the heaviest alone has one in each.
    [[nodiscard]] std::uint32_t rounds_for(std::span<const Walker> walkers, std::uint32_t wanted) const {
        std::uint32_t least = 1, most = wanted;
        while (least < most) {
            const std::uint32_t middle = least + (most - least) / 2;
            std::uint64_t turns = 0;
            for (const Walker& walker : walkers) turns += std::uint64_t{middle} * walker.weight / price_;
            if (turns < wanted)
                least = middle + 1;
            else
                most = middle;
        }
        return least;
    }
    // The n-th turn is in round ceil(n * price / weight), counted from 1; by addition, as division is slow.
    template <class Visit>
    void for_each_round(const Walker& walker, std::uint32_t rounds, Visit visit) const {
        const std::uint64_t whole = price_ / walker.weight, part = price_ % walker.weight;
        std::uint64_t round = 0, remainder = 0;
        for (;;) {
            round += whole;
            remainder += part;
            if (remainder >= walker.weight) {
                remainder -= walker.weight;
                ++round;
            }
            const std::uint64_t due = round + (remainder > 0 ? 1 : 0);
            if (due > rounds) return;
            visit(due);
        }
    }

    std::uint64_t price_ = 0;
    std::vector<std::uint16_t> order_;
};

void fill(std::vector<Walker>& walkers, std::vector<std::uint16_t>& table) {
    const auto slots = static_cast<std::uint32_t>(table.size());
    const Turns turns(walkers, slots);
    TakenSlots taken(slots);
    for (const std::uint16_t turn : turns.order().first(slots)) {
        Walker& walker = walkers[turn];
        // Ends, as a slot is free and the walk over a prime number of slots visits all.
        std::uint32_t slot;
        do {
            slot = walker.next;
            const std::uint32_t sum = slot + walker.skip;
            walker.next = std::min(sum, sum - slots);  // the latter wraps to a great number where sum < slots
        } while (!taken.take(slot));
        table[slot] = walker.member;
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
    assert(is_prime(slots) && slots < 1u << 31 && members.size() <= kMaxMembers);
    MaglevTable table;
    table.slots_.assign(slots, static_cast<std::uint16_t>(kNoMember));
    std::vector<Walker> walkers = make_walkers(key, pool, members, slots);
    if (!walkers.empty()) fill(walkers, table.slots_);
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
