// How large the tables may become: the limits that weir promises, measured. tools/bench --scale runs it; a
// release build on a machine with two CPUs and 4 GiB of free memory, no privileges.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <map>

#include "tests/bench/scale_bench.h"

namespace {

// Beside the folder tests/ of the build that this program is in.
std::string built_weir() {
    const auto self = std::filesystem::read_symlink("/proc/self/exe");
    return (self.parent_path() / ".." / ".." / "weir").lexically_normal().string();
}

}  // namespace

int main(int argc, char** argv) {
    using namespace weir::bench;
    CLI::App app{"The limits of weir's tables, measured", "scale_bench"};
    std::string json, program = built_weir();
    std::vector<std::string> wanted;
    app.add_option("--json", json, "write the figures there, too")->type_name("FILE");
    app.add_option("--weir", program, "the program that is started")->type_name("FILE");
    app.add_option("--only", wanted, "these parts alone")
        ->check(CLI::IsMember({"start", "maglev", "changes", "flows", "bursts"}))
        ->delimiter(',');
    CLI11_PARSE(app, argc, argv);

    Report report;
    const std::pair<const char*, std::function<void()>> parts[] = {
        {"start", [&] { measure_start(report, program); }}, {"maglev", [&] { measure_maglev(report); }},
        {"changes", [&] { measure_changes(report); }},      {"bursts", [&] { measure_bursts(report); }},
        {"flows", [&] { measure_flow_table(report); }},
    };
    for (const auto& [name, measure] : parts)
        if (wanted.empty() || std::ranges::find(wanted, name) != wanted.end()) measure();
    if (!json.empty() && !report.write_json(json)) {
        std::fprintf(stderr, "scale_bench: %s cannot be written\n", json.c_str());
        return 2;
    }
    return report.all_hold() ? 0 : 1;
}
