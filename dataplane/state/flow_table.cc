#include "dataplane/state/flow_table.h"

namespace weir {

namespace {
constexpr unsigned kNone = FlowBucket::kSlots;
}  // namespace

FlowTable::FlowTable(std::span<std::byte> memory) noexcept
    : buckets_(reinterpret_cast<FlowBucket*>(memory.data())),
      bucket_count_(static_cast<std::uint32_t>(memory.size() / sizeof(FlowBucket))) {
    assert(reinterpret_cast<std::uintptr_t>(memory.data()) % alignof(FlowBucket) == 0);
    assert(memory.size() >= sizeof(FlowBucket) && memory.size() / sizeof(FlowBucket) <= 0xffff'ffff);
}

InsertResult FlowTable::insert_elsewhere(std::uint32_t first, std::uint32_t tag, Tick now) noexcept {
    const std::uint32_t second = other_bucket(first, tag);
    InsertResult result{InsertOutcome::placed, {}, {}};
    const auto placed = [&](std::uint32_t at, unsigned slot) {
        if (slot == kNone) return false;
        result.entry = put(at, slot, at != first, tag);
        return true;
    };
    if (placed(second, vacate(second, now, result))) return result;
    if (entries_ * 100 < capacity() * kDisplaceBelow) {
        for (const bool deeper : {false, true}) {
            if (placed(first, displace(first, now, deeper, result))) return result;
            if (placed(second, displace(second, now, deeper, result))) return result;
        }
    }
    std::uint32_t at = first;
    const unsigned slot = evict(first, second, now, result, at);
    if (!placed(at, slot)) result.outcome = InsertOutcome::full;
    return result;
}

// Empties a slot of a bucket by moving its entry to that entry's other bucket; `deeper`: after moving an
// entry of that one on in the same way. kSlots if nothing can move. Precondition: the bucket is full of live
// entries; so nothing is moved into it meanwhile, and a bucket that a deeper search reaches is full of live
// ones as well, because the search that was not deeper has been there before and found no room.
unsigned FlowTable::displace(std::uint32_t from, Tick now, bool deeper, InsertResult& result) noexcept {
    for (unsigned slot = 0; slot < FlowBucket::kSlots; ++slot) {
        const std::uint32_t to = other_bucket(from, buckets_[from].tags[slot]);
        if (!may_move(from, to)) continue;
        const unsigned room = deeper ? displace(to, now, false, result) : vacate(to, now, result);
        if (room == kNone) continue;
        move(from, slot, to, room);
        return slot;
    }
    return kNone;
}

void FlowTable::move(std::uint32_t from, unsigned slot, std::uint32_t to, unsigned to_slot) noexcept {
    const FlowBucket& source = buckets_[from];
    const std::uint32_t word = source.words[slot];
    const FlowRef moved = put(to, to_slot, !source.is_displaced(slot), source.tags[slot]);
    moved.bucket_->services[to_slot] = source.services[slot];
    moved.bucket_->backends[to_slot] = source.backends[slot];
    moved.bucket_->words[to_slot] = word;
    remove(from, slot);
}

// Removes the unconfirmed entry of two buckets whose deadline is the earliest; says where, or kSlots.
unsigned FlowTable::evict(std::uint32_t first, std::uint32_t second, Tick now, InsertResult& result,
                          std::uint32_t& at) noexcept {
    unsigned victim = kNone;
    std::int32_t least = 0;
    for (const std::uint32_t candidate : {first, second}) {
        const FlowBucket& bucket = buckets_[candidate];
        for (unsigned slot = 0; slot < FlowBucket::kSlots; ++slot) {
            if (is_confirmed(bucket.state(slot))) continue;
            const std::int32_t left = bucket.scaled_ticks_left(slot, now);
            if (victim != kNone && left >= least) continue;
            least = left;
            victim = slot;
            at = candidate;
        }
    }
    if (victim == kNone) return kNone;
    result.outcome = InsertOutcome::evicted_unconfirmed;
    result.removed = buckets_[at].owner(victim);
    remove(at, victim);
    return victim;
}

}  // namespace weir
