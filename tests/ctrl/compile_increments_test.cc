// A snapshot that grew out of many changes says what one compiled from nothing says. Seeded.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>

#include "ctrl/tables/compile_snapshot.h"
#include "tests/ctrl/config_builder.h"
#include "tests/support/sanitized.h"

namespace weir {
namespace {

constexpr unsigned kRounds = kSanitized ? 300 : 3'000;

class RandomConfig {
  public:
    explicit RandomConfig(std::mt19937_64& random) : random_(random), config_(edge_config()) {
        for (int n = 0; n < 4; ++n) add_pool();
        add_service();
    }
    [[nodiscard]] const Config& config() const { return config_; }
    void change() {
        PoolConfig& pool = config_.pools[below(config_.pools.size())];
        switch (below(10)) {
            case 0:
                if (config_.pools.size() < 8) add_pool();
                break;
            case 1:
                remove_unused_pool();
                break;
            case 2:
                add_backend(pool);
                break;
            case 3:
                if (!pool.backends.empty())
                    pool.backends.change().erase(pool.backends.begin() +
                                                 static_cast<std::ptrdiff_t>(below(pool.backends.size())));
                break;
            case 4:
                if (!pool.backends.empty())
                    pool.backends.change()[below(pool.backends.size())].weight =
                        static_cast<unsigned>(below(3));
                break;
            case 5:
                if (config_.services.size() < 6) add_service();
                break;
            case 6:
                if (config_.services.size() > 1) config_.services.pop_back();
                break;
            case 7:
                pool.hash = below(2) == 0 ? SelectionHash::five_tuple : SelectionHash::source_ip;
                break;
            case 8:
                pool.client_address = static_cast<ClientIdentity>(below(4));
                break;
            default:
                config_.neighbors[1].mac.bytes[5] ^= 1;
        }
        std::ranges::shuffle(config_.pools, random_);
    }

  private:
    std::size_t below(std::size_t end) { return random_() % end; }
    void add_pool() {
        const std::string name = "pool" + std::to_string(below(12));
        if (std::ranges::find(config_.pools, name, &PoolConfig::name) != config_.pools.end()) return;
        config_.pools.push_back(pool(name, {}));
        config_.pools.back().table_size = 251;
        for (int n = 0; n < 3; ++n) add_backend(config_.pools.back());
    }
    void add_backend(PoolConfig& pool) {
        const std::string name = "b" + std::to_string(below(20));
        if (std::ranges::find(pool.backends, name, &BackendConfig::name) != pool.backends.end()) return;
        pool.backends.change().push_back(
            backend(name, "10.1.1." + std::to_string(10 + below(4)), static_cast<unsigned>(below(3))));
    }
    void add_service() {
        constexpr ForwardingMode kModes[] = {ForwardingMode::dsr, ForwardingMode::ipip, ForwardingMode::gue,
                                             ForwardingMode::nat};
        const std::size_t number = config_.services.size();
        config_.services.push_back(
            service("s" + std::to_string(number), "203.0.113." + std::to_string(number),
                    config_.pools[below(config_.pools.size())].name, kModes[below(4)]));
    }
    void remove_unused_pool() {
        const auto unused = std::ranges::find_if(config_.pools, [this](const PoolConfig& pool) {
            return std::ranges::find(config_.services, pool.name, &ServiceConfig::pool) ==
                   config_.services.end();
        });
        if (unused != config_.pools.end() && config_.pools.size() > 1) config_.pools.erase(unused);
    }
    std::mt19937_64& random_;
    Config config_;
};

// A kernel whose routes and neighbours change: backends of edge_config() on the link, or over two routers.
class RandomKernel {
  public:
    explicit RandomKernel(std::mt19937_64& random) : random_(random) {
        ways.set_interface(PortId{0}, kInterface, {{prefix("10.1.0.2/16")}});
    }
    void change() {
        const auto below = [this](std::size_t end) { return random_() % end; };
        const KernelPath first{.interface = kInterface, .gateway = ip("10.1.0.1")};
        const KernelPath second{.interface = kInterface, .gateway = ip("10.1.0.3"), .weight = 2};
        if (below(4) == 0) {
            std::vector<KernelRoute> routes;
            if (below(2) == 0)
                routes.push_back({.prefix = prefix("10.1.0.0/16"), .paths = {{.interface = kInterface}}});
            if (below(2) == 0) routes.push_back({.prefix = prefix("10.1.1.12/31"), .paths = {first, second}});
            ways.set_routes(std::move(routes));
        }
        for (unsigned i = 10; i < 14; ++i) (void)ways.want_hops_to(ip("10.1.1." + std::to_string(i)));
        constexpr const char* kHops[] = {"10.1.0.1",  "10.1.0.3",  "10.1.1.10",
                                         "10.1.1.11", "10.1.1.12", "10.1.1.13"};
        const bool resolved = below(3) != 0;
        ways.set_neighbor({PortId{0}, ip(kHops[below(6)])},
                          {.mac = resolved ? MacAddress{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(below(9))}}
                                           : MacAddress{},
                           .resolved = resolved,
                           .failed = !resolved});
    }

    KernelWays ways{{"weir0"}};

  private:
    static constexpr InterfaceIndex kInterface{5};
    std::mt19937_64& random_;
};

void expect_same_pools(const ForwardingSnapshot& grown, const ForwardingSnapshot& fresh) {
    ASSERT_EQ(grown.pools.size(), fresh.pools.size());
    for (std::size_t i = 0; i < grown.pools.size(); ++i) {
        ASSERT_EQ(grown.pools[i] == nullptr, fresh.pools[i] == nullptr) << "pool " << i;
        if (grown.pools[i] == nullptr) continue;
        EXPECT_EQ(grown.pools[i]->id, fresh.pools[i]->id);
        EXPECT_EQ(grown.pools[i]->input, fresh.pools[i]->input);
        EXPECT_EQ(grown.pools[i]->members, fresh.pools[i]->members);
        EXPECT_EQ(grown.pools[i]->maglev.checksum(), fresh.pools[i]->maglev.checksum());
    }
    EXPECT_EQ(grown.checksum, fresh.checksum);
}

void expect_same_services(const ForwardingSnapshot& grown, const ForwardingSnapshot& fresh,
                          const Config& config) {
    ASSERT_EQ(grown.service_records.size(), fresh.service_records.size());
    for (std::size_t i = 0; i < grown.service_records.size(); ++i) {
        const ServiceRecord &a = grown.service_records[i], &b = fresh.service_records[i];
        ASSERT_EQ(a.table == nullptr, b.table == nullptr) << "service " << i;
        if (a.table == nullptr) continue;
        EXPECT_EQ(a.pool, b.pool);
        EXPECT_EQ(a.mode, b.mode);
        EXPECT_EQ(a.table, grown.pools[index(a.pool)].get()) << "not a table of an older snapshot";
    }
    for (const ServiceConfig& service : config.services)
        EXPECT_EQ(
            grown.services.find_service(grown.services.find_vip(service.vip.v4()), IpProtocol::tcp, 80),
            fresh.services.find_service(fresh.services.find_vip(service.vip.v4()), IpProtocol::tcp, 80));
}

void expect_same_backends(const ForwardingSnapshot& grown, const ForwardingSnapshot& fresh) {
    for (std::size_t mode = 0; mode < kForwardingModes; ++mode) {
        ASSERT_EQ(grown.backends[mode].chunks().size(), fresh.backends[mode].chunks().size())
            << "mode " << mode;
        for (std::uint32_t id = 0; id < grown.backends[mode].chunks().size() * kBackendsPerChunk; ++id) {
            const BackendRecord &a = grown.backends[mode][BackendId{id}],
                                &b = fresh.backends[mode][BackendId{id}];
            ASSERT_EQ(a.state, b.state) << "backend " << id;
            EXPECT_EQ(a.pool, b.pool);
            EXPECT_EQ(a.mode, b.mode);
            EXPECT_EQ(a.resolved, b.resolved);
            EXPECT_EQ(a.header, b.header);
        }
    }
}

void compare_with_compilations_from_nothing(RandomKernel* kernel, std::mt19937_64& random) {
    RandomConfig operator_of(random);
    const KernelWays* ways = kernel == nullptr ? nullptr : &kernel->ways;
    IdRegistry registry;
    TrafficPlan traffic;
    CompiledWorld world(HashKey::zero(), false, ways);
    std::vector<PortFacts> facts = edge_facts();
    std::unique_ptr<const Config> config;
    std::unique_ptr<const ForwardingSnapshot> grown;
    std::size_t drains = 0;
    for (std::uint64_t generation = 1; generation <= kRounds && !testing::Test::HasFailure(); ++generation) {
        auto next = std::make_unique<const Config>(operator_of.config());
        const bool typed = config == nullptr || random() % 2 == 0;
        const ConfigDelta delta = typed ? ConfigDelta(config.get(), *next) : ConfigDelta::none(*config);
        if (typed) {
            ASSERT_TRUE(registry.assign(delta, generation));
        }
        const std::vector<PoolId> drained = registry.end_drains(generation);
        drains += drained.size();
        if (registry.backend_ids() != 0)
            traffic.set(BackendId{static_cast<std::uint32_t>(random() % registry.backend_ids())},
                        random() % 3 != 0);
        if (random() % 64 == 0) facts[0].mac.bytes[5] ^= 1;
        if (kernel != nullptr) kernel->change();
        const WaysChange changed = kernel == nullptr ? WaysChange{} : kernel->ways.take_change();
        grown = compile_snapshot({delta, registry, facts, traffic, generation, drained, &changed}, world);
        traffic.forget_changes();
        if (typed) config = std::move(next);

        CompiledWorld nothing(HashKey::zero(), false, ways);
        const auto fresh =
            compile_snapshot({ConfigDelta(nullptr, *config), registry, facts, traffic, generation}, nothing);
        expect_same_pools(*grown, *fresh);
        expect_same_services(*grown, *fresh, *config);
        expect_same_backends(*grown, *fresh);
        if (random() % 2 == 0) registry.observe(SweepView({}));
        if (typed) operator_of.change();
    }
    EXPECT_GT(drains, kRounds / 50);
}

TEST(CompileIncrements, EqualACompilationFromNothing) {
    std::mt19937_64 random(20'261'122);
    compare_with_compilations_from_nothing(nullptr, random);
}

TEST(CompileIncrements, EqualACompilationFromNothingWhereTheKernelDecides) {
    std::mt19937_64 random(20'261'123);
    RandomKernel kernel(random);
    compare_with_compilations_from_nothing(&kernel, random);
}

}  // namespace
}  // namespace weir
