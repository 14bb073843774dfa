#include "dataplane/state/flow_table.h"

namespace weir {

namespace {
constexpr unsigned kNone = FlowBucket::kSlots;
}  // namespace

FlowTable::FlowTable(std::span<std::byte> memory) noexcept
    : buckets_(reinterpret_cast<FlowBucket*>(memory.data())),
      bucket_count_(static_cast<std::uint32_t>(memory.size() / sizeof(FlowBucket))),
      crowded_(capacity() * kCrowded / 100) {
    assert(reinterpret_cast<std::uintptr_t>(memory.data()) % alignof(FlowBucket) == 0);
    assert(memory.size() >= sizeof(FlowBucket) && memory.size() / sizeof(FlowBucket) <= 0xffff'ffff);
}

InsertResult FlowTable::insert_elsewhere(std::uint32_t first, FlowRoom here, std::uint32_t tag,
                                         Tick now) noexcept {
    const std::uint32_t second = other_bucket(first, tag);
    InsertResult result{InsertOutcome::placed, {}, {}};
    const auto placed = [&](std::uint32_t at, unsigned slot) {
        if (slot == kNone) return false;
        result.entry = at == first ? put_at_home(at, slot, tag) : put_displaced(at, slot, tag);
        return true;
    };
    const FlowRoom there = room_in(buckets_[second], now);
    if (there.is_free()) {
        placed(second, vacate(second, there, result));
        return result;
    }
    if (!is_crowded()) {
        for (const bool deeper : {false, true}) {
            if (placed(first, displace(first, now, deeper, result))) return result;
            if (placed(second, displace(second, now, deeper, result))) return result;
        }
    }
    const bool in_second = there.cost < here.cost;
    if (const FlowRoom room = in_second ? there : here; room.is_unconfirmed())
        placed(in_second ? second : first, vacate(in_second ? second : first, room, result));
    else
        result.outcome = InsertOutcome::full;
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
        unsigned place = kNone;
        if (deeper)
            place = displace(to, now, false, result);
        else if (const FlowRoom room = room_in(buckets_[to], now); room.is_free())
            place = vacate(to, room, result);
        if (place == kNone) continue;
        move(from, slot, to, place);
        return slot;
    }
    return kNone;
}

void FlowTable::move(std::uint32_t from, unsigned slot, std::uint32_t to, unsigned to_slot) noexcept {
    const FlowBucket& source = buckets_[from];
    const std::uint32_t word = source.words[slot];
    const std::uint32_t tag = source.tags[slot];
    const FlowRef moved =
        source.is_displaced(slot) ? put_at_home(to, to_slot, tag) : put_displaced(to, to_slot, tag);
    moved.bucket_->services[to_slot] = source.services[slot];
    moved.bucket_->backends[to_slot] = source.backends[slot];
    moved.bucket_->words[to_slot] = word;
    remove(from, slot);
}

}  // namespace weir
