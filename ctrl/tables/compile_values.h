// Small values that "compile" makes of the configuration, and what it compares to see whether a part of the
// last snapshot still serves. For compile_snapshot.cc only. Pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "ctrl/tables/compile_snapshot.h"
#include "drivers/rss.h"

namespace weir::compile_values {

inline constexpr std::uint64_t kFnvBasis = 0xcbf29ce484222325;

inline std::uint64_t fnv1a(std::uint64_t hash, std::string_view bytes) {
    for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
    return hash;
}

// The same on machines of either byte order.
inline std::uint64_t fnv1a(std::uint64_t hash, std::uint64_t number) {
    for (int byte = 0; byte < 8; ++byte, number >>= 8) hash = (hash ^ (number & 0xff)) * 0x100000001b3;
    return hash;
}

inline TickCount to_ticks(Duration duration) {
    const auto ticks = static_cast<std::uint64_t>(duration.count()) * kTicksPerSecond / 1000;
    return static_cast<TickCount>(std::clamp<std::uint64_t>(ticks, 1, kMaxTimeoutTicks));
}

// Which worker a reply's port leads to: by what weir writes into NICs (drivers/rss.h), and does in their
// place.
inline SnatPortTables make_snat_ports(L4PortRange range, std::uint16_t workers) {
    const RetaTable reta(workers);
    return {std::make_shared<SnatPorts>(range, rss_port_bits(kRssKey, kRssPortV4), reta.entries()),
            std::make_shared<SnatPorts>(range, rss_port_bits(kRssKey, kRssPortV6), reta.entries())};
}

inline bool same_rules(const std::vector<ServiceRule>& a, const std::vector<ServiceRule>& b) {
    return std::ranges::equal(a, b, [](const ServiceRule& x, const ServiceRule& y) {
        return x.vip == y.vip && x.protocol == y.protocol && x.first == y.first && x.last == y.last &&
               x.any == y.any && x.service == y.service;
    });
}

// What goes into a MaglevTable, BackendIds apart.
inline bool same_selection(const CompiledPool& a, const CompiledPool& b) {
    return a.slots == b.slots &&
           std::ranges::equal(a.members, b.members,
                              [](const CompiledPool::Member& x, const CompiledPool::Member& y) {
                                  return x.name == y.name && x.weight == y.weight && x.eligible == y.eligible;
                              });
}

// What a PoolTable knows of its members beside that.
inline bool same_targets(const CompiledPool& a, const CompiledPool& b) {
    return std::ranges::equal(a.members, b.members,
                              [](const CompiledPool::Member& x, const CompiledPool::Member& y) {
                                  return x.id == y.id && x.ramp == y.ramp;
                              });
}

inline SelectionInput selection_input(const PoolConfig& pool) {
    return pool.hash == SelectionHash::source_ip ? SelectionInput::source_ip : SelectionInput::five_tuple;
}

inline StickyRule sticky_rule(const PoolConfig& pool) {
    if (!pool.stickiness) return {};
    return StickyRule::of(to_ticks(pool.stickiness->duration), pool.stickiness->prefix_v4,
                          pool.stickiness->prefix_v6);
}

}  // namespace weir::compile_values
