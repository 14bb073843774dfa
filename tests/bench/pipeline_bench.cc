// The packet path in process: real mbufs through the real pipeline, beside the floor. Prints one JSON object
// a line; tools/bench makes tables, claims and plots of them.
//
//   pipeline_bench [--quick] [--only TEXT] [--cpu N]
#include <sched.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <string>

#include "drivers/eal.h"
#include "drivers/worker_cpus.h"
#include "tests/bench/hand_over.h"
#include "tests/bench/measure.h"
#include "tests/bench/rows.h"
#include "tests/bench/workers.h"

namespace weir::bench {
namespace {

using Json = nlohmann::ordered_json;

double ns(double cycles) { return cycles * 1e9 / static_cast<double>(rte_get_tsc_hz()); }

void print(const Json& object) {
    std::printf("%s\n", object.dump().c_str());
    std::fflush(stdout);
}

constexpr std::string_view text_of(Mix mix) {
    switch (mix) {
        case Mix::established:
            return "established";
        case Mix::fresh:
            return "new";
        case Mix::half:
            return "half";
        case Mix::syn_flood:
            return "syn_flood";
    }
    return "";
}

Json describe(const Row& row) {
    const auto family = [](Family f) { return f == Family::v4 ? "v4" : "v6"; };
    Json object{{"name", row.name}, {"mode", name_of(row.mode)}, {"family", family(row.family)}};
    if (row.mode != ForwardingMode::dsr && row.mode != ForwardingMode::nat)
        object["outer"] = family(row.outer);
    if (row.mode == ForwardingMode::nat)
        object["direction"] = row.direction == Direction::to_client ? "to client" : "to backend";
    object["flows"] = row.flows;
    object["order"] = row.order == Order::random ? "random" : "runs";
    object["mix"] = text_of(row.mix);
    object["services"] = row.services;
    object["backends"] = row.backends;
    object["frame_bytes"] = row.frame_bytes;
    return object;
}

// Of the whole process, pages of the hugetlb pools included, in MiB.
double resident_mib() {
    std::ifstream status("/proc/self/status");
    double sum = 0;
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmRSS:") || line.starts_with("HugetlbPages:"))
            sum += std::stod(line.substr(line.find(':') + 1)) / 1024;
    return sum;
}

void run(const Measurement& wanted, const Mbufs& mbufs, std::size_t rounds) {
    FloorLane floor(wanted.subject);
    const double resident_before = resident_mib();
    WeirLane subject(wanted.subject, mbufs);
    const double resident_after = resident_mib();
    std::optional<WeirLane> reference;
    if (wanted.reference) reference.emplace(*wanted.reference, mbufs);
    std::vector<Lane*> lanes{&floor, &subject};
    if (reference) lanes.push_back(&*reference);
    const auto cycles = measure(lanes, mbufs, rounds);
    subject.check_all_forwarded();

    Json object = describe(wanted.subject);
    object["ns_min"] = ns(least_of(cycles[1]));
    object["ns_median"] = ns(median_of(cycles[1]));
    object["cycles_median"] = median_of(cycles[1]);
    object["floor_ns_min"] = ns(least_of(cycles[0]));
    object["floor_ns_median"] = ns(median_of(cycles[0]));
    object["ratio"] = ratio_of(cycles[1], cycles[0]);
    if (reference) {
        reference->check_all_forwarded();
        object["reference"] = wanted.reference->name;
        object["reference_ratio"] = ratio_of(cycles[1], cycles[2]);
    }
    object["load"] = static_cast<double>(subject.worker().flows().entries()) /
                     static_cast<double>(subject.worker().flows().capacity());
    if (wanted.subject.flows >= 16'000'000) {
        const std::uint64_t slots = subject.worker().flows().capacity();
        object["bytes_per_flow"] =
            static_cast<double>(FlowTable::bytes_for(slots)) / static_cast<double>(slots);
        object["resident_mib"] = resident_after;
        object["subject_resident_mib"] = resident_after - resident_before;  // without the floor's lines
    }
    print(object);
}

void print_scaling(Json object, const std::optional<Scaling>& scaling) {
    if (!scaling) {
        std::fprintf(stderr, "bench: two workers need two CPUs; their rows are missing\n");
        return;
    }
    object["workers"] = 2;
    object["ns_min"] = ns(scaling->cycles_min);
    object["ns_median"] = ns(scaling->cycles_median);
    object["alone_ns_median"] = ns(scaling->alone_cycles_median);
    object["scaling"] = scaling->scaling;
    object["rounds"] = scaling->rounds;
    object["disturbed_rounds"] = scaling->disturbed;
    print(object);
}

void run_two_workers(const std::vector<unsigned>& cpus, const std::string& only) {
    const auto wanted = [&only](const std::string& name) { return name.find(only) != std::string::npos; };
    for (const auto& [name, flows] :
         {std::pair{"2 workers ipip 4in4 1k", 1'000u}, {"2 workers ipip 4in4 1M", 1'000'000u}}) {
        Row row;
        row.flows = flows;
        row.name = name;
        if (wanted(name)) print_scaling(describe(row), scaling_of(row, cpus));
    }
    const std::string arithmetic = "2 threads pure ALU";
    if (wanted(arithmetic))
        print_scaling({{"name", arithmetic}, {"mode", "alu"}, {"family", ""}, {"flows", 0}},
                      scaling_of_arithmetic(cpus));
}

// The same thing twice: what comes out besides 1 is the machine's.
void run_against_itself(const Mbufs& mbufs, Row row, const std::string& only) {
    row.name = "A/A " + (row.mode == ForwardingMode::ipip ? "ipip 4in4 " + std::to_string(row.flows)
                                                          : name_of_row(row));
    if (row.name.find(only) == std::string::npos) return;
    WeirLane lane(row, mbufs);
    const auto cycles = measure({&lane, &lane}, mbufs, 2 * kRounds + 1);
    Json object = describe(row);
    object["ns_min"] = ns(least_of(cycles[0]));
    object["ns_median"] = ns(median_of(cycles[0]));
    object["ratio"] = ratio_of(cycles[0], cycles[1]);
    object["aa"] = true;
    print(object);
}

void run_hand_over(const Mbufs& mbufs, const std::string& only, std::size_t rounds, bool quick) {
    for (const std::uint32_t flows : {1'000u, 64'000u, 1'000'000u}) {
        if (quick && flows != 1'000) continue;
        Row row;
        row.mode = ForwardingMode::nat;
        row.flows = flows;
        row.backends = kNatBackends;
        row.direction = Direction::to_client;
        row.name = name_of_row(row);
        if ((row.name + ", by ring").find(only) == std::string::npos) continue;
        const auto figures = hand_over_figures(row, mbufs, rounds);
        for (const HandOverFigure& figure : figures) {
            Json object = describe(row);
            object["name"] = figure.name;
            object["workers_stepped"] = 2;
            object["handed_over"] = figure.share;
            object["ns_min"] = ns(least_of(figure.cycles));
            object["ns_median"] = ns(median_of(figure.cycles));
            object["cycles_median"] = median_of(figure.cycles);
            if (&figure != &figures.front()) {
                object["reference"] = figures.front().name;
                object["reference_ratio"] = ratio_of(figure.cycles, figures.front().cycles);
            }
            print(object);
        }
    }
}

Result<Eal> start_eal() {
    EalOptions options;
    options.program = "weir-bench";
    options.control_cpu = usable_cpus().back();  // CPU 0 has the machine's interrupts
    options.hugepages = false;
    options.memory = 64u << 20;
    return Eal::start(options);
}

int bench(bool quick, const std::string& only, std::size_t rounds) {
    const std::vector<unsigned> cpus = usable_cpus();
    auto eal = start_eal();
    if (!eal) {
        std::fprintf(stderr, "bench: %s\n", eal.error().message.c_str());
        return 2;
    }
    rte_mempool* pool =
        rte_pktmbuf_pool_create("bench", 2 * kBatch - 1, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    Mbufs mbufs;
    if (pool == nullptr || rte_pktmbuf_alloc_bulk(pool, mbufs.data(), kBatch) != 0) {
        std::fprintf(stderr, "bench: no memory for %zu mbufs\n", kBatch);
        return 2;
    }
    run_against_itself(mbufs, {.flows = 1'000}, only);
    run_against_itself(mbufs, {.flows = 1'000'000}, only);
    run_against_itself(mbufs, {.mode = ForwardingMode::nat, .flows = 64'000, .backends = kNatBackends}, only);
    for (const Measurement& wanted : measurements(quick))
        if (wanted.subject.name.find(only) != std::string::npos) run(wanted, mbufs, rounds);
    run_hand_over(mbufs, only, rounds, quick);
    run_two_workers(cpus, only);
    rte_pktmbuf_free_bulk(mbufs.data(), kBatch);
    rte_mempool_free(pool);
    return 0;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
    CLI::App app("The packet path in process, beside its floor; one JSON object a line.");
    bool quick = false;
    std::string only;
    app.add_flag("--quick", quick, "only the rows that the claims need, and fewer sizes");
    app.add_option("--only", only, "only rows whose name contains this");
    std::size_t rounds = weir::bench::kRounds;
    app.add_option("--rounds", rounds, "slices a lane; fewer than 101 prove nothing");
    CLI11_PARSE(app, argc, argv);
    return weir::bench::bench(quick, only, rounds);
}
