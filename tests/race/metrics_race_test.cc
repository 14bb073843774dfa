// The metrics listener's thread against the control thread that makes new counters, and workers that count.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "ctrl/metrics/collect_metrics.h"
#include "ctrl/world.h"
#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

// Every generation has 700 backends more, so that chunks of counters are made while the others are read.
Config growing_config(unsigned generation) {
    Config config = web_config();
    config.pools[0].table_size = 65537;
    for (unsigned i = 0; i < generation * 700; ++i)
        config.pools[0].backends.change().push_back(
            backend(fmt::format("b{:05}", i), fmt::format("10.1.{}.{}", 2 + i / 200, 1 + i % 200)));
    return config;
}

TEST(MetricsRace, CollectingWhileReloadsMakeCounters) {
    CountingWorkers counters(1);
    WorldOptions options;
    options.ports = edge_facts();
    World world(options, counters.all());
    MetricsCollector collector;
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> collected{0}, backends_seen{0};
    std::thread listener([&] {
        while (!stop.load()) {
            for (const auto& family : collector.Collect())
                if (family.name == "weir_backend_packets_total") backends_seen.store(family.metric.size());
            collected.fetch_add(1);
        }
    });
    std::thread worker([&] {
        while (!stop.load()) {
            counters[0].received.add(1);
            counters[0].drop(DropReason::not_vip);
        }
    });
    for (unsigned generation = 1; generation <= 5; ++generation) {
        EXPECT_TRUE(world.apply(growing_config(generation)));
        auto input = std::make_shared<MetricsInput>();
        input->labels = make_metrics_labels(world);
        input->workers = {&counters[0]};
        collector.update(std::move(input));
        const std::uint64_t before = collected.load();
        while (collected.load() < before + 3) std::this_thread::yield();
        EXPECT_EQ(backends_seen.load(), 2u + generation * 700);
    }
    stop.store(true);
    listener.join();
    worker.join();
    EXPECT_EQ(collector.errors(), 0u);
}

}  // namespace
}  // namespace weir
