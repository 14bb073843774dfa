#include "ctrl/kernel/gc_threshold.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <fstream>

namespace weir {
namespace {

const char* name_of(Family family) { return family == Family::v4 ? "ipv4" : "ipv6"; }

}  // namespace

std::optional<std::string> gc_warning(Family family, std::size_t hops, std::size_t gc_thresh3) {
    if (2 * hops <= gc_thresh3) return std::nullopt;
    return fmt::format(
        "the kernel's {} neighbour table ends at {} entries, and {} next hops of backends want to be in it: "
        "make room with sysctl -w net.{}.neigh.default.gc_thresh3={}",
        family == Family::v4 ? "IPv4" : "IPv6", gc_thresh3, hops, name_of(family), std::bit_ceil(4 * hops));
}

std::vector<std::string> check_gc_thresholds(const KernelWays& ways) {
    std::vector<std::string> warnings;
    for (const Family family : {Family::v4, Family::v6}) {
        std::size_t limit = 0;
        std::ifstream setting(fmt::format("/proc/sys/net/{}/neigh/default/gc_thresh3", name_of(family)));
        if (!(setting >> limit)) continue;
        const auto hops = std::ranges::count_if(
            ways.neighbors(), [&](const auto& entry) { return entry.first.address.family() == family; });
        if (auto warning = gc_warning(family, static_cast<std::size_t>(hops), limit))
            warnings.push_back(std::move(*warning));
    }
    return warnings;
}

}  // namespace weir
