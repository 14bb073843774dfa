// What one change costs the control core when 1,000 pools of 100 backends are in force.
#include <fmt/format.h>

#include <fstream>

#include "ctrl/metrics/metrics_input.h"
#include "ctrl/reload.h"
#include "ctrl/world.h"
#include "tests/bench/samples.h"
#include "tests/bench/scale_bench.h"
#include "tests/ctrl/config_builder.h"
#include "tests/dataplane/figure.h"
#include "tests/support/large_config.h"

namespace weir::bench {
namespace {

constexpr double kPublishedMs = 5;

// A world with one worker that takes each generation at once.
class Control {
  public:
    explicit Control(Config config) : workers_(1), world_(options(), workers_.all()) {
        Samples first;
        apply(std::move(config), first);
    }
    void apply(Config config, Samples& samples) {
        samples.take([&] {
            if (!world_.apply(std::move(config))) std::abort();
        });
        settle();
    }
    void set_eligible(BackendId id, bool eligible, Samples& samples) {
        samples.take([&] {
            world_.set_eligible(id, eligible);
            world_.republish();
        });
        settle();
    }
    [[nodiscard]] const World& world() const { return world_; }

  private:
    static WorldOptions options() {
        WorldOptions made;
        made.ports = edge_facts();
        return made;
    }
    void settle() {
        workers_.take(world_.generation());
        world_.tick();
    }
    CountingWorkers workers_;
    World world_;
};

void measure_world(Report& report, const std::string& what, const test::ConfigSize& size, unsigned weights,
                   unsigned verdicts, std::optional<double> limit) {
    Config config = test::large_config(size);
    Control control(config);
    Samples weight, health;
    for (unsigned n = 0; n < weights; ++n) {
        BackendConfig& backend = config.pools[n * 7 % size.pools].backends.change()[n * 13 % size.backends];
        backend.weight = backend.weight % 100 + 1;
        control.apply(config, weight);
    }
    const std::uint32_t ids = control.world().ids().backend_ids();
    for (unsigned n = 0; n < verdicts; ++n)
        control.set_eligible(BackendId{n / 2 * 7919 % ids}, n % 2 != 0, health);
    weight.add_to(report, "change: " + what + ": a weight in the configuration", limit);
    health.add_to(report, "change: " + what + ": a backend's health", limit);
}

// SIGHUP's way: the file is read again, one weight differs.
void measure_reload(Report& report, const std::string& what, const test::ConfigSize& size, unsigned rounds) {
    const std::string text = test::config_text(size);
    const test::ConfigFile file(text);
    CountingWorkers workers(1);
    Stopwatch validated;
    double published = 0;
    WorldOptions options;
    options.ports = edge_facts();
    options.hook = [&](ReloadStep step) {
        if (step == ReloadStep::validated) validated = {};
        if (step == ReloadStep::published) published = validated.milliseconds();
    };
    World world(std::move(options), workers.all());
    Reloader reloader(world, file.path());
    if (!reloader.reload()) std::abort();
    Samples from_validated, whole, labels;
    for (unsigned round = 0; round < rounds; ++round) {
        std::string changed = text;
        const std::size_t place = changed.find("weight = 1", changed.size() * round / (2 * rounds));
        std::ofstream(file.path()) << changed.replace(place, 10, fmt::format("weight = {}", round + 2));
        whole.take([&] {
            if (!reloader.reload()) std::abort();
        });
        from_validated.add(published);
        workers.take(world.generation());
        world.tick();
        labels.take([&] { (void)make_metrics_labels(world); });
    }
    from_validated.add_to(report, "reload: " + what + ": from validated to published");
    whole.add_to(report, "reload: " + what + ": the whole of it, reading included");
    labels.add_to(report, "metrics: " + what + ": labels made anew");
}

std::vector<MaglevMember> members(const std::vector<std::string>& names) {
    std::vector<MaglevMember> made;
    for (const std::string& name : names) made.push_back({name, 1, true});
    return made;
}

}  // namespace

void measure_maglev(Report& report) {
    const auto one = [&report](unsigned count, std::uint32_t slots, unsigned rounds,
                               std::optional<double> limit) {
        std::vector<std::string> names;
        for (unsigned n = 0; n < count; ++n) names.push_back(fmt::format("server-{:05}", n));
        const std::vector<MaglevMember> all = members(names);
        Samples build;
        for (unsigned round = 0; round < rounds; ++round) {
            const std::string pool = fmt::format("pool-{}", round);
            build.take([&] {
                if (MaglevTable::build(HashKey::zero(), pool, all, slots).slots().size() != slots)
                    std::abort();
            });
        }
        build.add_to(report, fmt::format("maglev: {} slots, {} backends", slots, count), limit);
    };
    one(100, MaglevTable::kDefaultSlots, 501, {});
    one(1'000, MaglevTable::kDefaultSlots, 501, 2.0);
    one(10'000, MaglevTable::slots_for(10'000), 21, {});
}

void measure_changes(Report& report) {
    measure_world(report, "1,000 pools x 100", {}, 300, 2'000, kPublishedMs);
    measure_world(report, "10,000 services", {.pools = 1'000, .backends = 10, .services = 10'000}, 300, 2'000,
                  kPublishedMs);
    measure_reload(report, "1,000 pools x 100", {}, 21);
    measure_world(report, "10,000 backends in a pool", {.pools = 1, .backends = 10'000, .services = 1}, 20,
                  20, {});
}

}  // namespace weir::bench
