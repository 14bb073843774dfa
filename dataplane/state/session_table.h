// One worker's sessions, found by the client's tuple and by the reply's.
//
// Theory of operation. The records lie in one array. Two indexes, one for each direction, hold {tag, record}
// in open-addressing arrays that are at most half full; a cell's place follows from its tag, so that a cell
// can move up when one before it goes (no tombstones). Tags come from hashes under a key that nobody knows,
// and a match is compared in full: a session is found by exactly its tuple.
//
// Full: a session that nobody has answered, or that gives way (session.h), makes room, the first among
// kEvictionLooks of the table, taken here and there. So a SYN flood, of which the table is then full, pushes
// out its own sessions, and no established one. Expired sessions are misses, swept or not.
//
// One thread: the worker that owns it. No allocation; the memory is the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/net/aes_hash.h"
#include "dataplane/net/prefetch.h"
#include "dataplane/state/session.h"

namespace weir {

class SessionTable {
  public:
    static constexpr std::uint32_t kEvictionLooks = 32;

    [[nodiscard]] static std::size_t bytes_for(std::uint64_t sessions) noexcept;
    // `memory`: bytes_for(sessions) of them, zeroed, aligned to 64; empty: a table without room.
    SessionTable(std::span<std::byte> memory, const HashKey& key) noexcept;

    [[nodiscard]] std::uint64_t hash_of(const ClientTuple& tuple) const noexcept;
    [[nodiscard]] std::uint64_t hash_of(const ReplyTuple& tuple) const noexcept;

    // Null: there is none that lives.
    [[nodiscard]] Session* find(const ClientTuple& tuple, std::uint64_t hash, Tick now) noexcept;
    [[nodiscard]] Session* find(const ReplyTuple& tuple, std::uint64_t hash, Tick now) noexcept;
    // Who has the tuple, also one that has expired and is not swept: its port is not free. Null: nobody.
    [[nodiscard]] Session* holder(const ReplyTuple& tuple, std::uint64_t hash) const noexcept;

    void prefetch_client(std::uint64_t hash) const noexcept { prefetch(&by_client_[place_of(hash)]); }
    void prefetch_reply(std::uint64_t hash) const noexcept { prefetch(&by_reply_[place_of(hash)]); }
    // The record that the cell leads to, once that is there: nearly always the session's.
    void prefetch_client_record(std::uint64_t hash) const noexcept { prefetch_record(by_client_, hash); }
    void prefetch_reply_record(std::uint64_t hash) const noexcept { prefetch_record(by_reply_, hash); }

    enum class Outcome : std::uint8_t { inserted, evicted, full };
    // A copy of `session` under both its tuples. on_removed(const Session&) is told of one that makes room.
    // Precondition: neither tuple is taken (find() has said so of the client's, whose expired owner goes).
    template <class OnRemoved>
    Outcome insert(const Session& session, Tick now, const SessionTimeouts& timeouts,
                   OnRemoved&& on_removed) noexcept {
        Outcome outcome = Outcome::inserted;
        if (Session* old = at_client(session.client_tuple())) {
            on_removed(*old);
            erase(*old);
        }
        if (free_ == kNone && used_ == capacity_) {
            Session* victim = choose_victim(now, timeouts);
            if (victim == nullptr) return Outcome::full;
            if (victim->is_live(now)) outcome = Outcome::evicted;
            on_removed(*victim);
            erase(*victim);
        }
        place(session);
        return outcome;
    }
    void erase(Session& session) noexcept;

    // Looks at the next `records`: those that have expired, or whose owner is gone, go. is_gone(const
    // Session&). True when it has come round.
    template <class IsGone, class OnRemoved>
    bool sweep(std::uint32_t records, Tick now, IsGone&& is_gone, OnRemoved&& on_removed) noexcept {
        for (; records > 0 && swept_ < used_; --records, ++swept_) {
            Session& session = records_[swept_];
            if (session.state == FlowState::none || (session.is_live(now) && !is_gone(session))) continue;
            on_removed(session);
            erase(session);
        }
        if (swept_ < used_) return false;
        swept_ = 0;
        return true;
    }
    // Records until the sweep has come round.
    [[nodiscard]] std::uint32_t left_of_sweep() const noexcept { return used_ - swept_; }

    [[nodiscard]] std::uint64_t entries() const noexcept { return entries_; }
    [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

  private:
    static constexpr std::uint32_t kNone = 0xffff'ffff;
    // record + 1; 0: an empty cell.
    struct Cell {
        std::uint32_t tag, record;
    };

    [[nodiscard]] static std::uint32_t tag_of(std::uint64_t hash) noexcept {
        return static_cast<std::uint32_t>(hash >> 32);
    }
    [[nodiscard]] std::uint32_t place_of(std::uint64_t hash) const noexcept { return tag_of(hash) & mask_; }
    template <class Same>
    [[nodiscard]] Session* look_up(const Cell* cells, std::uint64_t hash, Same&& same) const noexcept {
        if (capacity_ == 0) return nullptr;
        const std::uint32_t tag = tag_of(hash);
        for (std::uint32_t at = tag & mask_; cells[at].record != 0; at = (at + 1) & mask_)
            if (cells[at].tag == tag && same(records_[cells[at].record - 1]))
                return &records_[cells[at].record - 1];
        return nullptr;
    }
    void prefetch_record(const Cell* cells, std::uint64_t hash) const noexcept {
        const std::uint32_t record = cells[place_of(hash)].record;
        if (record != 0) prefetch(&records_[record - 1]);
    }
    [[nodiscard]] Session* at_client(const ClientTuple& tuple) const noexcept;
    void add_cell(Cell* cells, std::uint64_t hash, std::uint32_t record) noexcept;
    void remove_cell(Cell* cells, std::uint64_t hash, std::uint32_t record) noexcept;
    void place(const Session& session) noexcept;
    [[nodiscard]] Session* choose_victim(Tick now, const SessionTimeouts& timeouts) noexcept;

    HashKey key_;
    Session* records_ = nullptr;
    Cell *by_client_ = nullptr, *by_reply_ = nullptr;
    std::uint32_t mask_ = 0, capacity_ = 0, used_ = 0;  // records below used_ have been in use
    std::uint32_t free_ = kNone;                        // list of free records, linked by their `deadline`
    std::uint32_t entries_ = 0, swept_ = 0, walk_ = 0;
};

}  // namespace weir
