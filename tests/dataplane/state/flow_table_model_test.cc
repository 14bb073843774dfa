// The flow table in lock step with a map that forgets nothing.
//
// Each entry has a backend of its own, so that a removal, which is told by its owner, names the entry.
#include <gtest/gtest.h>

#include <random>
#include <unordered_map>

#include "dataplane/state/flow_table.h"
#include "tests/dataplane/figure.h"
#include "tests/dataplane/state/flow_table_memory.h"

namespace weir {
namespace {

using enum FlowState;

constexpr FlowTimeouts kTimeouts{
    .tcp_opening = 640, .tcp_established = 22'400, .tcp_closing = 640, .udp = 7'680};

class Model {
  public:
    Model(std::uint64_t slots, std::uint64_t start, std::uint64_t seed)
        : memory_(slots), table_(memory_.bytes()), now_(start), random_(seed) {
        for (std::uint32_t id = 0; id < 100'000; ++id) free_backends_.push_back(id);
        for (std::uint64_t i = 0; i < 2 * table_.capacity(); ++i) known_hashes_.push_back(random_());
    }

    void run(std::uint64_t steps) {
        for (std::uint64_t i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) {
            // A flood of new flows for a tenth of the time; phases of low and of high load in between.
            if (i % 10'000 == 0) phase_ = random_() % 10;
            step();
            ASSERT_EQ(table_.entries(), entries_.size()) << "step " << i;
            if (i % 10'000 == 0) memory_.expect_consistent(table_);
        }
        check_all();
        // In the end all expire, and the sweep tells of each.
        now_ += 30'000;
        sweep(table_.buckets());
        ASSERT_EQ(entries_.size(), 0u);
        ASSERT_EQ(table_.entries(), 0u);
        memory_.expect_consistent(table_);
    }

    std::uint64_t packets = 0, found = 0, placed = 0, expired = 0, evicted = 0, full = 0, swept = 0,
                  rebound = 0;

  private:
    struct Entry {
        std::uint64_t hash;
        ServiceId service;
        FlowState state;
        std::uint64_t deadline;
        std::uint64_t dead_since_sweep = kAlive;  // completed sweeps when its backend died
    };
    static constexpr std::uint64_t kAlive = ~std::uint64_t{0};

    [[nodiscard]] Tick tick() const { return Tick{static_cast<std::uint32_t>(now_)}; }
    static ServiceId service_of(std::uint64_t hash) {
        return ServiceId{static_cast<std::uint16_t>(hash % 3)};
    }

    void step() {
        const std::uint64_t kind = random_() % 1'000;
        if (kind < 940) {
            const bool flood = phase_ == 0 && kind < 900;
            packet(flood ? random_() : known_hashes_[random_() % hashes_in_use()], flood);
        } else if (kind < 960) {
            // The larger the table, the slower the clock: it must fill up.
            now_ += random_() % (1 + (phase_ < 3 ? 40'000 : 400'000) / table_.capacity());
        } else if (kind < 990) {
            sweep(random_() % 16);
        } else {
            change_a_backend(kind % 3);
        }
    }
    [[nodiscard]] std::size_t hashes_in_use() const {
        return phase_ % 2 == 0 ? known_hashes_.size() : known_hashes_.size() / 8;
    }

    // The entry that the table must find, or none.
    [[nodiscard]] std::uint32_t expected(std::uint64_t hash) const {
        const auto at = current_.find(hash);
        if (at == current_.end() || entries_.at(at->second).deadline <= now_) return index(kNoBackend);
        return at->second;
    }

    void packet(std::uint64_t hash, bool flood) {
        ++packets;
        const FlowEvent event = flood ? FlowEvent::syn : static_cast<FlowEvent>(random_() % kFlowEvents);
        const FlowRef entry = table_.find(hash, service_of(hash), tick());
        ASSERT_EQ(entry ? index(entry.backend()) : index(kNoBackend), expected(hash));
        if (entry) {
            ++found;
            touch(entry, event);
        } else if (first_flow_state(event) != none && !free_backends_.empty()) {
            insert(hash, first_flow_state(event));
        }
    }

    void touch(FlowRef ref, FlowEvent event) {
        Entry& entry = entries_.at(index(ref.backend()));
        ASSERT_EQ(ref.state(), entry.state);
        if (random_() % 50 == 0) {
            const FlowOwner owner = ref.owner();
            table_.erase(ref);
            forget(owner);
            return;
        }
        const FlowState next = next_flow_state(entry.state, event);
        const TickCount timeout = flow_timeout(next, kTimeouts);
        table_.touch(ref, next, tick(), timeout);
        const std::uint64_t deadline = now_ + timeout;
        if (next == entry.state && deadline >= entry.deadline &&
            (deadline - entry.deadline) * FlowTimeout::kRefreshPart < timeout)
            return;
        entry.state = next;
        entry.deadline = deadline;
    }

    void insert(std::uint64_t hash, FlowState state) {
        const std::uint32_t backend = free_backends_.back();
        free_backends_.pop_back();
        const TickCount timeout = flow_timeout(state, kTimeouts);
        const FlowOwner owner{service_of(hash), BackendId{backend}};
        const InsertResult result = table_.insert(hash, owner, state, tick(), timeout);
        if (result.has_removed()) {
            const Entry& gone = entries_.at(index(result.removed.backend));
            const bool was_live = gone.deadline > now_;
            ASSERT_EQ(was_live, result.outcome == InsertOutcome::evicted_unconfirmed);
            if (was_live) {
                ASSERT_FALSE(is_confirmed(gone.state));
                ++evicted;
            } else {
                ++expired;
            }
            forget(result.removed);
        }
        ASSERT_EQ(static_cast<bool>(result.entry), result.outcome != InsertOutcome::full);
        if (result.outcome == InsertOutcome::full) {
            ++full;
            free_backends_.push_back(backend);
            expect_no_room(hash, state);
            return;
        }
        ++placed;
        ASSERT_EQ(result.entry.owner(), owner);
        ASSERT_EQ(result.entry.state(), state);
        entries_.emplace(backend, Entry{hash, owner.service, state, now_ + timeout});
        current_[hash] = backend;
    }

    // Full is only said where both buckets are full of live, confirmed entries; to a SYN in a crowded table
    // where the first is.
    void expect_no_room(std::uint64_t hash, FlowState state) {
        const std::uint32_t first = memory_.first(hash);
        const bool crowded = table_.entries() >= table_.capacity() * FlowTable::kCrowded / 100;
        const bool one_line = crowded && state == tcp_opening;
        const std::uint32_t second =
            one_line ? first : memory_.other(first, static_cast<std::uint32_t>(hash));
        for (const std::uint32_t at : {first, second}) {
            for (unsigned slot = 0; slot < FlowBucket::kSlots; ++slot) {
                ASSERT_TRUE(memory_.buckets()[at].is_live(slot, tick()));
                ASSERT_TRUE(is_confirmed(memory_.buckets()[at].state(slot)));
            }
        }
    }

    // A removal that was told: each entry once.
    void forget(FlowOwner owner) {
        const auto at = entries_.find(index(owner.backend));
        ASSERT_NE(at, entries_.end()) << "told twice, or never inserted";
        ASSERT_EQ(at->second.service, owner.service);
        const auto now = current_.find(at->second.hash);
        if (now != current_.end() && now->second == at->first) current_.erase(now);
        free_backends_.push_back(at->first);
        entries_.erase(at);
    }

    void sweep(std::uint64_t buckets) {
        const auto is_gone = [this](FlowOwner owner) {
            return entries_.at(index(owner.backend)).dead_since_sweep != kAlive;
        };
        const auto on_removed = [this, &is_gone](FlowOwner owner) {
            ASSERT_TRUE(is_gone(owner) || entries_.at(index(owner.backend)).deadline <= now_);
            ++swept;
            forget(owner);
        };
        const std::uint64_t before = table_.completed_sweeps();
        const std::uint64_t sweeps = table_.sweep(buckets, tick(), is_gone, on_removed);
        if (sweeps == before) return;
        // What BackendIds are reused by: a sweep begun after the death has been completed.
        for (const auto& [backend, entry] : entries_)
            ASSERT_TRUE(entry.dead_since_sweep == kAlive || sweeps < entry.dead_since_sweep + 2) << backend;
    }

    void change_a_backend(std::uint64_t kind) {
        const auto at = current_.find(known_hashes_[random_() % hashes_in_use()]);
        if (at == current_.end() || expected(at->first) == index(kNoBackend) || free_backends_.empty())
            return;
        if (kind == 0) {
            entries_.at(at->second).dead_since_sweep = table_.completed_sweeps();
            return;
        }
        const std::uint32_t fresh = free_backends_.back();
        free_backends_.pop_back();
        const FlowRef ref = table_.find(at->first, service_of(at->first), tick());
        ASSERT_TRUE(ref);
        table_.rebind(ref, BackendId{fresh});
        ++rebound;
        Entry entry = entries_.at(at->second);
        entry.dead_since_sweep = kAlive;
        entries_.erase(at->second);
        free_backends_.push_back(at->second);
        entries_.emplace(fresh, entry);
        at->second = fresh;
    }

    void check_all() {
        for (const auto& [hash, backend] : current_) {
            const FlowRef entry = table_.find(hash, service_of(hash), tick());
            ASSERT_EQ(entry ? index(entry.backend()) : index(kNoBackend), expected(hash));
        }
        memory_.expect_consistent(table_);
    }

    FlowTableMemory memory_;
    FlowTable table_;
    std::uint64_t now_;
    std::mt19937_64 random_;
    std::uint64_t phase_ = 0;
    std::vector<std::uint64_t> known_hashes_;
    std::vector<std::uint32_t> free_backends_;
    std::unordered_map<std::uint32_t, Entry> entries_;          // by backend
    std::unordered_map<std::uint64_t, std::uint32_t> current_;  // hash -> backend of its latest entry
};

// The clock starts just below where 24 and 32 bits end.
TEST(FlowTableModel, agrees_in_three_million_random_steps) {
    for (const std::uint64_t start : {(std::uint64_t{1} << 32) - 5'000, (std::uint64_t{1} << 24) - 5'000}) {
        for (const std::uint64_t slots : {100u, 1'000u, 10'000u}) {
            Model model(slots, start, start + slots);
            ASSERT_NO_FATAL_FAILURE(model.run(500'000)) << slots << " slots";
            print_figure(
                "%lu slots: %lu packets, %lu found, %lu placed, %lu over expired, %lu evictions, %lu full, "
                "%lu swept, %lu rebound",
                slots, model.packets, model.found, model.placed, model.expired, model.evicted, model.full,
                model.swept, model.rebound);
            EXPECT_GT(model.found, 10'000u);
            EXPECT_GT(model.expired, 100u);
            EXPECT_GT(model.evicted, 100u);
            EXPECT_GT(model.swept, 1'000u);
            EXPECT_GT(model.rebound, 100u);
        }
    }
}

}  // namespace
}  // namespace weir
