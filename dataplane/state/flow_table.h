// Flow -> backend: the affinity table of one worker.
//
// Theory of operation. A bucket is one cache line of five entries (flow_bucket.h). A flow's 64-bit keyed hash
// gives its tag (lower half) and its first bucket (upper half: disjoint bits). Its second bucket is
//     second = (scale(tag) - first) mod buckets,
// which any entry can compute from where it lies and its own tag, in both directions and for any number of
// buckets. An entry goes to its first bucket if there is room, else to its second; a bucket counts the
// entries that went on to their second, so that a look-up touches the second line only if there are any. The
// count is exact, and goes down again when they leave, up to 65,534; from 65,535 on it stays, which costs a
// second cache line per look-up in that bucket and nothing else (it takes a bucket with 13,000 times its
// share).
//
// An entry is known by (first bucket, tag, service): a slot's `displaced` bit says which of the two buckets
// is its first. A look-up of another flow matches it by mistake with odds of
//     entries with that first bucket (at most 5 x load on average) x 2^-32 x P(same service),
// below 1.2e-9 for a packet of an unknown flow at full load, and nobody who does not know the key can aim.
// What it then gets is the backend of another flow of the same service.
//
// Making room, in this order:
//   1. a free or expired slot in the first bucket; in a crowded table (kCrowded) else the unconfirmed entry
//      with the earliest deadline there, of those that are in their second bucket there before others;
//   2. for a SYN in a crowded table, nothing: a flood of them costs one line each. If its sender goes on, the
//      flow's next packet gets what follows;
//   3. a free or expired slot in the second bucket;
//   4. unless the table is crowded, displacement: some entry of either bucket moves to its own other bucket,
//      if need be after one there has moved on in the same way (at most 60 other lines looked at);
//   5. eviction of the unconfirmed entry with the earliest deadline in either bucket;
//   6. nothing: `full`. The caller forwards by hash and counts.
// Confirmed entries are never evicted: a flood of first packets costs established flows nothing.
//
// An entry at or past its deadline is a miss, swept or not. Deadlines are 24 bits: a sweep must come round at
// least every 12 h (kMaxTimeoutTicks + 12 h = 2^23 ticks), which any sweep that is worth its name does.
//
// The sweep and ids. Displacement never moves an entry from the part of the table that the running sweep has
// still to visit to the part behind it. So a sweep that was begun after a backend's removal has, when it is
// completed, seen every entry of that backend: BackendIds are reused on the strength of that.
//
// Every removal is told with its owner, so that gauges of active flows stay exact: by insert() in its result,
// by sweep() through its callback; erase() and rebind() are the caller's own doing.
//
// One thread: the worker that owns it. No allocation; the memory is the caller's.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "dataplane/ids.h"
#include "dataplane/net/prefetch.h"
#include "dataplane/state/flow_bucket.h"
#include "dataplane/state/flow_clock.h"
#include "dataplane/state/flow_room.h"
#include "dataplane/state/flow_state.h"

namespace weir {

// An entry, or none. Valid until the next insert(), erase() or sweep(): those move and remove entries. So in
// a burst each packet is looked up and touched, or inserted, before the next one.
class FlowRef {
  public:
    FlowRef() = default;
    FlowRef(FlowBucket* bucket, unsigned slot) noexcept : bucket_(bucket), slot_(slot) {}

    explicit operator bool() const noexcept { return bucket_ != nullptr; }
    // Precondition of all below: an entry.
    [[nodiscard]] FlowOwner owner() const noexcept { return bucket_->owner(slot_); }
    [[nodiscard]] BackendId backend() const noexcept { return owner().backend; }
    [[nodiscard]] FlowState state() const noexcept { return bucket_->state(slot_); }

  private:
    friend class FlowTable;
    FlowBucket* bucket_ = nullptr;
    unsigned slot_ = 0;
};

enum class InsertOutcome : std::uint8_t {
    placed,
    replaced_expired,     // `removed` had expired
    evicted_unconfirmed,  // `removed` was live, but unconfirmed
    full,                 // not inserted
};

struct InsertResult {
    InsertOutcome outcome;
    FlowOwner removed;  // with replaced_expired and evicted_unconfirmed
    FlowRef entry;      // none if full

    [[nodiscard]] bool has_removed() const noexcept {
        return outcome == InsertOutcome::replaced_expired || outcome == InsertOutcome::evicted_unconfirmed;
    }
};

// For sweep(): only entries past their deadline go.
struct NobodyIsGone {};

class FlowTable {
  public:
    // Percent of capacity. From here on a search for room would mostly be in vain, and a flood must not make
    // every packet dear: a new flow looks no further than for an unconfirmed entry of its first bucket.
    static constexpr std::uint64_t kCrowded = 90;
    [[nodiscard]] static constexpr std::size_t bytes_for(std::uint64_t flows) noexcept {
        const std::uint64_t buckets = (flows + FlowBucket::kSlots - 1) / FlowBucket::kSlots;
        return static_cast<std::size_t>(buckets == 0 ? 1 : buckets) * sizeof(FlowBucket);
    }

    // `memory`: zeroed, aligned to 64 bytes, room for at least one bucket and fewer than 2^32; it outlives
    // the table.
    explicit FlowTable(std::span<std::byte> memory) noexcept;
    FlowTable(const FlowTable&) = delete;
    FlowTable& operator=(const FlowTable&) = delete;

    // A flow's first bucket, for prefetch() and find_in().
    [[nodiscard]] FlowBucket* bucket_of(std::uint64_t hash) const noexcept {
        return &buckets_[first_bucket(hash)];
    }

    // For a flow that find_in() has not found: fetches the bucket where it may lie else, or will be put. True
    // if it may lie there.
    [[gnu::always_inline]] bool prefetch_second(std::uint64_t hash) const noexcept {
        const std::uint32_t at = first_bucket(hash);
        const bool may_lie_there = buckets_[at].overflow != 0;
        const bool may_be_put_there = !is_crowded() && buckets_[at].occupied() == FlowBucket::kAllSlots;
        // Again without a branch; the first bucket is at hand.
        prefetch(&buckets_[may_lie_there | may_be_put_there ? other_bucket(at, tag_of(hash)) : at]);
        return may_lie_there;
    }

    // insert() would be in vain for a SYN whose first bucket is this one.
    [[nodiscard]] bool turns_away(const FlowBucket& first, Tick now) const noexcept {
        return is_crowded() && !has_room(first, now);
    }

    // The live entry of a flow if it lies in its first bucket, as 19 of 20 do at half load.
    [[nodiscard]] static FlowRef find_in(FlowBucket& first, std::uint64_t hash, ServiceId service,
                                         Tick now) noexcept {
        return pick(first, match_tags(first, tag_of(hash)) & ~unsigned{first.displaced}, service, now);
    }
    // The live entry of a flow, or none.
    [[nodiscard]] FlowRef find(std::uint64_t hash, ServiceId service, Tick now) const noexcept {
        FlowBucket& first = *bucket_of(hash);
        if (const FlowRef found = find_in(first, hash, service, now)) return found;
        // Without a branch: whether there are any elsewhere is chance.
        const std::uint32_t tag = tag_of(hash), at = first_bucket(hash);
        const bool elsewhere = first.overflow != 0;
        FlowBucket& second = buckets_[elsewhere ? other_bucket(at, tag) : at];
        const unsigned candidates = elsewhere ? FlowBucket::kAllSlots & second.displaced : 0;
        return pick(second, match_tags(second, tag) & candidates, service, now);
    }

    // Precondition: state is not none, timeout at most kMaxTimeoutTicks, and find() has said that there is no
    // such entry.
    InsertResult insert(std::uint64_t hash, FlowOwner owner, FlowState state, Tick now,
                        const FlowTimeout& timeout) noexcept {
        const std::uint32_t at = first_bucket(hash);
        InsertResult result{InsertOutcome::placed, {}, {}};
        const FlowRoom room = room_in(buckets_[at], now);
        if (will_take(room)) [[likely]]
            result.entry = put_at_home(at, vacate(at, room, result), tag_of(hash));
        else if (state == FlowState::tcp_opening && is_crowded())
            result.outcome = InsertOutcome::full;
        else
            result = insert_elsewhere(at, room, tag_of(hash), now);
        if (result.entry) result.entry.bucket_->set(result.entry.slot_, owner, state, now + timeout.ticks());
        return result;
    }

    // A packet of the flow: its state, and a deadline that is, about, now + timeout (FlowTimeout).
    static void touch(FlowRef entry, FlowState state, Tick now, const FlowTimeout& timeout) noexcept {
        FlowBucket& bucket = *entry.bucket_;
        const bool fresh = timeout.is_fresh(bucket.scaled_ticks_left(entry.slot_, now));
        if (fresh && bucket.state(entry.slot_) == state) [[likely]]
            return;
        bucket.set_state(entry.slot_, state, now + timeout.ticks());
    }

    // The entry's state and deadline, to the tick. Precondition: state is not none.
    static void renew(FlowRef entry, FlowState state, Tick deadline) noexcept {
        entry.bucket_->set_state(entry.slot_, state, deadline);
    }

    // Gives the flow to another backend.
    void rebind(FlowRef entry, BackendId backend) noexcept {
        entry.bucket_->set_owner(entry.slot_, {entry.owner().service, backend});
    }

    void erase(FlowRef entry) noexcept {
        remove(static_cast<std::uint32_t>(entry.bucket_ - buckets_), entry.slot_);
    }

    // Visits `buckets` buckets from where it last stopped and removes entries that have expired or whose
    // owner is gone: `is_gone(FlowOwner) -> bool`, then `on_removed(FlowOwner)`, neither of which may touch
    // the table. Returns how many sweeps have been completed since the start. A sweep begun after some moment
    // is known to be complete when this has grown by 2 since: by 1 may be the one that was under way.
    template <class IsGone, class OnRemoved>
    std::uint64_t sweep(std::uint64_t buckets, Tick now, IsGone&& is_gone, OnRemoved&& on_removed) noexcept {
        for (; buckets > 0; --buckets) {
            const std::uint32_t at = cursor_;
            FlowBucket& bucket = buckets_[at];
            // The line after next, as the hardware's own prefetcher stops at page ends.
            prefetch(&buckets_[at + 2 < bucket_count_ ? at + 2 : 0]);
            unsigned leaving = bucket.expired(now);
            if constexpr (!std::is_same_v<std::remove_cvref_t<IsGone>, NobodyIsGone>)
                for (unsigned left = bucket.occupied(); left != 0; left &= left - 1) {
                    const auto slot = static_cast<unsigned>(__builtin_ctz(left));
                    leaving |= unsigned{is_gone(bucket.owner(slot))} << slot;
                }
            for (; leaving != 0; leaving &= leaving - 1) {
                const auto slot = static_cast<unsigned>(__builtin_ctz(leaving));
                const FlowOwner owner = bucket.owner(slot);
                remove(at, slot);
                on_removed(owner);
            }
            if (++cursor_ == bucket_count_) {
                cursor_ = 0;
                ++sweeps_;
            }
        }
        return sweeps_;
    }

    // Entries in the table, expired ones that are not yet swept included.
    [[nodiscard]] std::uint64_t entries() const noexcept { return entries_; }
    [[nodiscard]] std::uint64_t capacity() const noexcept {
        return std::uint64_t{FlowBucket::kSlots} * bucket_count_;
    }
    [[nodiscard]] std::uint32_t buckets() const noexcept { return bucket_count_; }
    [[nodiscard]] std::uint64_t completed_sweeps() const noexcept { return sweeps_; }
    // Buckets that the running sweep has still to visit.
    [[nodiscard]] std::uint32_t left_of_sweep() const noexcept { return bucket_count_ - cursor_; }

  private:
    static std::uint32_t tag_of(std::uint64_t hash) noexcept { return static_cast<std::uint32_t>(hash); }
    [[nodiscard]] std::uint32_t first_bucket(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>((hash >> 32) * bucket_count_ >> 32);
    }
    // An involution for every tag. One bucket in `buckets` is its own partner: its entries have one place
    // only.
    [[nodiscard]] std::uint32_t other_bucket(std::uint32_t at, std::uint32_t tag) const noexcept {
        const auto sum = static_cast<std::uint32_t>(std::uint64_t{tag} * bucket_count_ >> 32);
        return sum >= at ? sum - at : sum + (bucket_count_ - at);
    }

    static FlowRef pick(FlowBucket& bucket, unsigned candidates, ServiceId service, Tick now) noexcept {
        for (; candidates != 0; candidates &= candidates - 1) {
            const auto slot = static_cast<unsigned>(__builtin_ctz(candidates));
            if (bucket.services[slot] == index(service) && bucket.is_live(slot, now)) return {&bucket, slot};
        }
        return {};
    }

    // Makes the room empty, and tells in `result` what had to go. Precondition: there is any. The slot's word
    // stays: whoever takes the room writes it.
    [[gnu::always_inline]] unsigned vacate(std::uint32_t at, FlowRoom room, InsertResult& result) noexcept {
        const unsigned slot = room.slot();
        if (!room.is_empty()) [[likely]] {
            result.outcome =
                room.is_free() ? InsertOutcome::replaced_expired : InsertOutcome::evicted_unconfirmed;
            result.removed = buckets_[at].owner(slot);
            leave(at, slot);
        }
        return slot;
    }
    [[nodiscard]] bool is_crowded() const noexcept { return entries_ >= crowded_; }
    // A new flow takes this room of its first bucket without looking further.
    [[nodiscard]] bool will_take(FlowRoom room) const noexcept {
        return room.is_free() || (room.is_unconfirmed() && is_crowded());
    }

    // The bookkeeping of an entry's arrival in a slot without one and of its leaving; its words are for the
    // caller to write.
    FlowRef put_at_home(std::uint32_t at, unsigned slot, std::uint32_t tag) noexcept {
        buckets_[at].tags[slot] = tag;
        ++entries_;
        return {&buckets_[at], slot};
    }
    FlowRef put_displaced(std::uint32_t at, unsigned slot, std::uint32_t tag) noexcept {
        buckets_[at].set_displaced(slot, true);
        std::uint16_t& overflow = buckets_[other_bucket(at, tag)].overflow;
        if (overflow != FlowBucket::kOverflowSaturated) ++overflow;
        return put_at_home(at, slot, tag);
    }
    void leave(std::uint32_t at, unsigned slot) noexcept {
        FlowBucket& bucket = buckets_[at];
        if (bucket.is_displaced(slot)) [[unlikely]] {
            std::uint16_t& overflow = buckets_[other_bucket(at, bucket.tags[slot])].overflow;
            if (overflow != FlowBucket::kOverflowSaturated) --overflow;
            bucket.set_displaced(slot, false);
        }
        --entries_;
    }
    void remove(std::uint32_t at, unsigned slot) noexcept {
        leave(at, slot);
        buckets_[at].words[slot] = 0;
    }

    // flow_table.cc: where the first bucket has no room.
    InsertResult insert_elsewhere(std::uint32_t first, FlowRoom here, std::uint32_t tag, Tick now) noexcept;
    unsigned displace(std::uint32_t from, Tick now, bool deeper, InsertResult& result) noexcept;
    [[nodiscard]] bool may_move(std::uint32_t from, std::uint32_t to) const noexcept {
        return from != to && !(from >= cursor_ && to < cursor_);
    }
    void move(std::uint32_t from, unsigned slot, std::uint32_t to, unsigned to_slot) noexcept;
    FlowBucket* buckets_;
    std::uint32_t bucket_count_;
    std::uint32_t cursor_ = 0;  // the bucket that sweep() visits next
    std::uint64_t sweeps_ = 0;
    std::uint64_t entries_ = 0;
    std::uint64_t crowded_;  // entries from which on kCrowded is reached
};

}  // namespace weir
