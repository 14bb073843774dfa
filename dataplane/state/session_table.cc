#include "dataplane/state/session_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace weir {

namespace {

std::uint32_t cells_for(std::uint64_t sessions) noexcept {
    return static_cast<std::uint32_t>(std::bit_ceil(std::max<std::uint64_t>(2 * sessions, 2)));
}

// Tuples as the keyed hash takes them. What tells a client's tuple from a reply's stands in `kind`.
std::uint64_t hash_tuple(const HashKey& key, const SessionAddress& address, std::uint32_t ports,
                         std::uint32_t owner, std::uint8_t kind) noexcept {
    alignas(16) std::array<std::uint8_t, 32> blocks{};
    std::memcpy(blocks.data(), address.data(), address.size());
    std::memcpy(blocks.data() + 16, &ports, sizeof(ports));
    std::memcpy(blocks.data() + 20, &owner, sizeof(owner));
    blocks[24] = kind;
    AesBlock state = aes_hash::start(key, blocks.size());
    state = aes_hash::absorb(key, state, load_block(blocks.data()));
    return aes_hash::finish(key, aes_hash::absorb(key, state, load_block(blocks.data() + 16)));
}

std::uint32_t both(Be16 a, Be16 b) noexcept { return std::uint32_t{a.raw()} << 16 | b.raw(); }

std::uint8_t kind_of(IpProtocol protocol, Family family, bool reply) noexcept {
    return static_cast<std::uint8_t>((protocol == IpProtocol::udp ? 1 : 0) | (family == Family::v6 ? 2 : 0) |
                                     (reply ? 4 : 0));
}

}  // namespace

std::size_t SessionTable::bytes_for(std::uint64_t sessions) noexcept {
    if (sessions == 0) return 0;
    return sessions * sizeof(Session) + 2ull * cells_for(sessions) * sizeof(Cell);
}

SessionTable::SessionTable(std::span<std::byte> memory, const HashKey& key) noexcept : key_(key) {
    if (memory.empty()) return;
    // The largest number of sessions that fits; bytes_for() grows with it.
    std::uint64_t low = 1, high = memory.size() / sizeof(Session);
    while (low < high) {
        const std::uint64_t middle = (low + high + 1) / 2;
        if (bytes_for(middle) <= memory.size())
            low = middle;
        else
            high = middle - 1;
    }
    capacity_ = static_cast<std::uint32_t>(low);
    const std::uint32_t cells = cells_for(capacity_);
    mask_ = cells - 1;
    records_ = reinterpret_cast<Session*>(memory.data());
    by_client_ = reinterpret_cast<Cell*>(records_ + capacity_);
    by_reply_ = by_client_ + cells;
}

std::uint64_t SessionTable::hash_of(const ClientTuple& tuple) const noexcept {
    return hash_tuple(key_, tuple.client, both(tuple.client_port, tuple.vip_port), index(tuple.service),
                      kind_of(tuple.protocol, tuple.family, false));
}

std::uint64_t SessionTable::hash_of(const ReplyTuple& tuple) const noexcept {
    const std::uint64_t hash = hash_tuple(key_, tuple.backend, both(tuple.backend_port, tuple.snat_port),
                                          index(tuple.snat), kind_of(tuple.protocol, tuple.family, true));
    if (tuple.snat != kNoSnat) return hash;
    const auto part = static_cast<std::uint32_t>(hash >> 32);
    return hash_tuple(key_, tuple.client, part, static_cast<std::uint32_t>(hash),
                      kind_of(tuple.protocol, tuple.family, true));
}

Session* SessionTable::find(const ClientTuple& tuple, std::uint64_t hash, Tick now) noexcept {
    Session* found = look_up(by_client_, hash, [&](const Session& s) { return s.client_tuple() == tuple; });
    return found != nullptr && found->is_live(now) ? found : nullptr;
}

Session* SessionTable::find(const ReplyTuple& tuple, std::uint64_t hash, Tick now) noexcept {
    Session* found = holder(tuple, hash);
    return found != nullptr && found->is_live(now) ? found : nullptr;
}

Session* SessionTable::holder(const ReplyTuple& tuple, std::uint64_t hash) const noexcept {
    return look_up(by_reply_, hash, [&](const Session& s) { return s.reply_tuple() == tuple; });
}

Session* SessionTable::at_client(const ClientTuple& tuple) const noexcept {
    return look_up(by_client_, hash_of(tuple), [&](const Session& s) { return s.client_tuple() == tuple; });
}

void SessionTable::add_cell(Cell* cells, std::uint64_t hash, std::uint32_t record) noexcept {
    std::uint32_t at = place_of(hash);
    while (cells[at].record != 0) at = (at + 1) & mask_;
    cells[at] = {tag_of(hash), record + 1};
}

// Cells behind it that may lie further up move there, so that every cell is reached from its own place.
void SessionTable::remove_cell(Cell* cells, std::uint64_t hash, std::uint32_t record) noexcept {
    std::uint32_t hole = place_of(hash);
    while (cells[hole].record != record + 1) hole = (hole + 1) & mask_;
    for (std::uint32_t at = (hole + 1) & mask_; cells[at].record != 0; at = (at + 1) & mask_) {
        const std::uint32_t from_home = (at - (cells[at].tag & mask_)) & mask_;
        if (from_home < ((at - hole) & mask_)) continue;
        cells[hole] = cells[at];
        hole = at;
    }
    cells[hole] = {};
}

void SessionTable::place(const Session& session) noexcept {
    std::uint32_t record = used_;
    if (free_ != kNone) {
        record = free_;
        free_ = static_cast<std::uint32_t>(records_[record].deadline);
    } else {
        ++used_;
    }
    records_[record] = session;
    add_cell(by_client_, hash_of(session.client_tuple()), record);
    add_cell(by_reply_, hash_of(session.reply_tuple()), record);
    ++entries_;
}

void SessionTable::erase(Session& session) noexcept {
    const auto record = static_cast<std::uint32_t>(&session - records_);
    remove_cell(by_client_, hash_of(session.client_tuple()), record);
    remove_cell(by_reply_, hash_of(session.reply_tuple()), record);
    session.state = FlowState::none;
    session.deadline = Tick{free_};
    free_ = record;
    --entries_;
}

// Null: all that it has looked at are in use. Where it looks is a linear congruential walk: sessions that
// are long answered lie side by side.
Session* SessionTable::choose_victim(Tick now, const SessionTimeouts& timeouts) noexcept {
    for (std::uint32_t looks = 0; looks < kEvictionLooks && used_ != 0; ++looks) {
        walk_ = walk_ * 1'664'525 + 1'013'904'223;
        Session& session = records_[std::uint64_t{walk_} * used_ >> 32];
        if (session.is_unanswered() || gives_way(session, now, timeouts)) return &session;
    }
    return nullptr;
}

}  // namespace weir
