// Per-connection consistency under random reloads: two workers that take each snapshot when they like, a
// model of where every live flow is, backends that come, go, drain, return and have their ids reused. Seeded.
#include <random>
#include <set>

#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

constexpr TickCount kTimeout = 20 * kTicksPerSecond;
constexpr unsigned kWorkers = 2;
constexpr std::uint32_t kPacketsWanted = 300'000;

// What the operator does: a pool of 3 to 20 backends, changed at random.
class RandomPool {
  public:
    explicit RandomPool(std::mt19937_64& random) : random_(random) {
        for (unsigned n = 0; n < 8; ++n) add();
    }
    void change() {
        side_ += random_() % 8 == 0 ? 1 : 0;
        switch (random_() % 4) {
            case 0:
                if (members_.size() < 20) add();
                break;
            case 1:
                if (members_.size() > 3) members_.erase(pick());
                break;
            case 2:
                pick()->second.weight = static_cast<unsigned>(random_() % 4);
                break;
            default:  // another machine under the same name
                if (const auto member = pick(); true) member->second.address = free_address();
        }
        if (std::ranges::none_of(members_, [](const auto& m) { return m.second.weight != 0; }))
            members_.begin()->second.weight = 1;
    }
    [[nodiscard]] Config config() const {
        Config made = edge_config();
        std::vector<BackendConfig> backends;
        for (const auto& [name, member] : members_)
            backends.push_back(backend("b" + std::to_string(name), "10.1.7." + std::to_string(member.address),
                                       member.weight));
        // A second service whose whole pool is replaced now and then: its backends are gone at once, with
        // flows.
        const std::string side = "side" + std::to_string(side_);
        made.pools = {pool("web", std::move(backends)),
                      pool(side, {backend(side + "a", "10.1.8.1"), backend(side + "b", "10.1.8.2")})};
        for (PoolConfig& pool : made.pools) pool.table_size = 251;
        made.services = {service("web", "203.0.113.10", "web"), service("side", "203.0.113.11", side)};
        for (ServiceConfig& service : made.services) service.udp = true;
        made.timeouts.udp = Duration(1000 * kTimeout / kTicksPerSecond);
        return made;
    }
    // Last bytes of the addresses that may get new flows.
    [[nodiscard]] std::set<unsigned> open() const {
        std::set<unsigned> addresses;
        for (const auto& [name, member] : members_)
            if (member.weight != 0) addresses.insert(member.address);
        return addresses;
    }

  private:
    struct Member {
        unsigned address, weight;
    };
    std::map<unsigned, Member>::iterator pick() {
        return std::next(members_.begin(), static_cast<std::ptrdiff_t>(random_() % members_.size()));
    }
    // Few addresses and names, so that backends come back.
    unsigned free_address() {
        for (;;) {
            const auto address = static_cast<unsigned>(1 + random_() % 40);
            if (std::ranges::none_of(members_, [&](const auto& m) { return m.second.address == address; }))
                return address;
        }
    }
    void add() {
        const unsigned address = free_address();
        members_.try_emplace(static_cast<unsigned>(random_() % 30), Member{address, 1});
    }
    std::mt19937_64& random_;
    std::map<unsigned, Member> members_;
    unsigned side_ = 0;
};

class ConsistencyTest : public DriversTest {
  protected:
    struct Known {
        unsigned address;
        std::uint32_t seen;
    };
    struct Figures {
        std::uint64_t known = 0, moved = 0, fresh = 0, fresh_wrong = 0, reloads = 0, reused = 0;
    };

    void reload() {
        pool_.change();
        world_.apply(pool_.config());
        ++figures_.reloads;
        note_generation();
    }
    void tick() {
        world_.world().tick();
        note_generation();
    }
    // What was in force with each generation; and who has which id.
    void note_generation() {
        open_.try_emplace(world_.world().generation(), pool_.open());
        for (const IdRegistry::Backend& backend : world_.world().ids().find_pool("web")->backends) {
            const auto owner = std::pair(backend.name, backend.address);
            const auto [place, is_new] = owners_.try_emplace(backend.id, owner);
            if (is_new || place->second == owner) continue;
            place->second = owner;
            ++figures_.reused;
            for (unsigned w = 0; w < kWorkers; ++w)
                EXPECT_EQ(world_.worker(w).counters().backends[index(backend.id)].active_flows.value(), 0u)
                    << "an id was given away while a flow table held it";
        }
    }

    // A burst of packets of flows out of a window that moves on, so that flows end too.
    void send_burst(unsigned w) {
        SteppedWorker& worker = world_.worker(w);
        std::vector<std::uint32_t> numbers;
        std::vector<rte_mbuf*> packets;
        for (unsigned i = 0; i < kBurstSize; ++i) {
            const auto back = static_cast<std::uint32_t>(random_() % 1500);
            numbers.push_back((window_ + back) * kWorkers + w);
            packets.push_back(frames_.frame(udp_frame(client_flow(numbers.back(), ip("203.0.113.10")), 10)));
        }
        worker.run(packets, Tick{now_});
        const std::vector<Bytes> sent = worker.take();
        ASSERT_EQ(sent.size(), numbers.size());
        for (std::size_t i = 0; i < sent.size(); ++i) judge(worker, numbers[i], sent[i]);
    }
    // Flows of the other service, old and new: they keep the ids of removed backends in the tables.
    void send_side_burst(unsigned w) {
        std::vector<rte_mbuf*> packets;
        for (unsigned i = 0; i < kBurstSize / 4; ++i) {
            const auto number = static_cast<std::uint32_t>(random_() % 400) * kWorkers + w;
            packets.push_back(frames_.frame(udp_frame(client_flow(number, ip("203.0.113.11")), 10)));
        }
        world_.worker(w).run(packets, Tick{now_});
        EXPECT_EQ(world_.worker(w).take().size(), packets.size());
    }
    void judge(const SteppedWorker& worker, std::uint32_t number, const Bytes& frame) {
        ASSERT_EQ(word_at(frame, 14 + 20 + 20), number & 0xffff) << "in order, one each";
        const unsigned address = frame[33];
        const auto known = flows_.find(number);
        const std::uint32_t silence = known == flows_.end() ? ~0u : now_ - known->second.seen;
        // Between 15/16 and the whole of its timeout a flow may be known or not (FlowTimeout::kRefreshPart).
        if (silence < kTimeout - kTimeout / FlowTimeout::kRefreshPart) {
            ++figures_.known;
            figures_.moved += address != known->second.address ? 1 : 0;
        } else if (silence >= kTimeout || address != known->second.address) {
            const auto in_force = std::prev(open_.upper_bound(worker.world().generation));
            ++figures_.fresh;
            figures_.fresh_wrong += in_force->second.contains(address) ? 0 : 1;
        }
        flows_[number] = {address, now_};
    }

    std::mt19937_64 random_{20'240'611};
    RandomPool pool_{random_};
    FramePool frames_{"consistency", 255};
    // Load stays below that of a full table: 2 x 1,500 flows in the window, and those that still expire.
    SmallWorld world_{pool_.config(), edge_facts(), kWorkers, 16'384};
    std::map<std::uint64_t, std::set<unsigned>> open_;
    std::map<BackendId, std::pair<std::string, IpAddress>> owners_;
    std::map<std::uint32_t, Known> flows_;
    std::uint32_t now_ = 0xffff'f000;  // the clock wraps on the way
    std::uint32_t window_ = 0;
    Figures figures_;
};

TEST_F(ConsistencyTest, a_known_flow_never_moves_however_backends_come_and_go) {
    note_generation();
    std::uint64_t packets = 0;
    for (std::uint64_t round = 0; packets < kPacketsWanted && !HasFatalFailure(); ++round) {
        if (random_() % 3 == 0) reload();
        // Each worker takes the newest snapshot some rounds late, on its own.
        for (unsigned w = 0; w < kWorkers; ++w)
            if (random_() % 3 == 0) world_.worker(w).latch();
        for (unsigned w = 0; w < kWorkers; ++w) {
            send_burst(w);
            send_side_burst(w);
            packets += kBurstSize;
            world_.worker(w).sweep(Tick{now_}, static_cast<std::uint32_t>(random_() % 300));
        }
        tick();
        now_ += 1 + static_cast<std::uint32_t>(random_() % 6);
        window_ += random_() % 2 == 0 ? 5 : 0;
        if (round % 64 == 0) world_.expect_consistent();
    }
    world_.expect_consistent();
    EXPECT_EQ(frames_.in_use(), 0u);
    EXPECT_EQ(figures_.moved, 0u);
    EXPECT_EQ(figures_.fresh_wrong, 0u) << "new flows at backends that get none";
    EXPECT_GE(figures_.known, 200'000u);
    EXPECT_GE(figures_.reused, 50u);
    for (unsigned w = 0; w < kWorkers; ++w)
        EXPECT_EQ(world_.worker(w).counters().flow_full.value() +
                      world_.worker(w).counters().flow_evictions.value(),
                  0u);
    print_figure("%llu known-flow packets, %llu moved", static_cast<unsigned long long>(figures_.known),
                 static_cast<unsigned long long>(figures_.moved));
    print_figure("meanwhile %llu reloads, %llu new flows, %llu ids of backends reused",
                 static_cast<unsigned long long>(figures_.reloads),
                 static_cast<unsigned long long>(figures_.fresh),
                 static_cast<unsigned long long>(figures_.reused));
}

}  // namespace
}  // namespace weir::test
