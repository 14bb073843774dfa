// Measured figures with the limits that they are held to: a table for people, JSON for tools/bench.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace weir::bench {

struct Figure {
    std::string name;
    double value = 0;
    std::string unit;
    std::optional<double> limit;  // at most; absent: a figure without one

    [[nodiscard]] bool holds() const { return !limit || value <= *limit; }
};

class Report {
  public:
    // Printed at once, since the whole takes minutes.
    void add(std::string name, double value, std::string unit, std::optional<double> limit = {});
    [[nodiscard]] bool all_hold() const;
    // An array of {name, value, unit, limit, holds}; limit is null where there is none. False: not written.
    [[nodiscard]] bool write_json(const std::string& path) const;

  private:
    std::vector<Figure> figures_;
};

// The value below which `share` of the samples lie. Precondition: there is one.
[[nodiscard]] double percentile(std::vector<double> samples, double share);
inline double median(std::vector<double> samples) { return percentile(std::move(samples), 0.5); }

}  // namespace weir::bench
