#include "tests/bench/scale_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace weir::bench {

void Report::add(std::string name, double value, std::string unit, std::optional<double> limit) {
    figures_.push_back({std::move(name), value, std::move(unit), limit});
    const Figure& figure = figures_.back();
    std::string line = fmt::format("{:<64} {:>12.4g} {:<8}", figure.name, figure.value, figure.unit);
    if (figure.limit)
        line += fmt::format(" limit {:>8g}  {}", *figure.limit, figure.holds() ? "holds" : "MISSED");
    std::puts(line.c_str());
    std::fflush(stdout);
}

bool Report::all_hold() const { return std::ranges::all_of(figures_, &Figure::holds); }

bool Report::write_json(const std::string& path) const {
    nlohmann::json all = nlohmann::json::array();
    for (const Figure& figure : figures_)
        all.push_back({{"name", figure.name},
                       {"value", figure.value},
                       {"unit", figure.unit},
                       {"limit", figure.limit ? nlohmann::json(*figure.limit) : nlohmann::json()},
                       {"holds", figure.holds()}});
    std::ofstream file(path);
    file << all.dump(2) << '\n';
    return file.flush().good();
}

double percentile(std::vector<double> samples, double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(samples.size())));
    const auto place = samples.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
    std::ranges::nth_element(samples, place);
    return *place;
}

}  // namespace weir::bench
