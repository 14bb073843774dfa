// What was known of the backends' health, kept over a restart: it holds until the first verdict of the new
// run (DESIGN.md section 9). A file of JSON, replaced as a whole; one that cannot be read counts as absent.
//
// The control thread.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "ctrl/config/config.h"
#include "ctrl/health/health.h"
#include "dataplane/net/address.h"
#include "drivers/result.h"

namespace weir {

struct SavedHealth {
    struct Key {
        std::string pool, name;
        IpAddress address;
        friend auto operator<=>(const Key&, const Key&) = default;
    };
    struct Entry {
        HealthVerdict verdict = HealthVerdict::none;
        UnhealthyReason reason{};
        std::string answer;
        double since = 0;  // seconds since 1970
        bool operator==(const Entry&) const = default;
    };
    std::map<Key, Entry> entries;
    double written = 0;  // seconds since 1970

    static constexpr double kLongestAge = 300;  // seconds
};

// In the state directory.
[[nodiscard]] std::string saved_health_file(const Config& config);
// Empty if there is none, or it is older than kLongestAge at `unix_time`, or from the future.
[[nodiscard]] SavedHealth load_saved_health(const std::string& file, double unix_time);
[[nodiscard]] Result<void> store_saved_health(const std::string& file, const SavedHealth& health);

}  // namespace weir
