#include <fmt/format.h>

#include <set>

#include "ctrl/config/tunnel_overhead.h"
#include "ctrl/tables/compile_snapshot.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

// What keeps packets from a backend in this mode, as a sentence; empty if nothing does.
std::string obstacle(const BackendInput& backend, ForwardingMode mode, const CompiledWorld& world,
                     const Config& config) {
    const std::string address = to_text(backend.address);
    const NextHop& hop = backend.hop;
    const auto port_name = [&] { return config.ports[index(hop.port)].name; };
    if (!hop.reachable && !hop.resolved)
        return fmt::format("backend {}: {}", address, world.hops->why_not(backend.address));
    if (mode == ForwardingMode::dsr && !hop.on_link)
        return fmt::format(
            "backend {}: reached through the router {}, but dsr needs it on port \"{}\"'s link", address,
            to_text(hop.address), port_name());
    if (is_tunnel(mode) && !hop.has_source)
        return fmt::format("backend {}: port \"{}\" has no IPv{} address to send tunnelled packets from",
                           address, port_name(), backend.address.is_v4() ? 4 : 6);
    if (!hop.resolved && hop.by_kernel)
        return fmt::format("backend {}: nobody answers for {} on {}, the host interface of port \"{}\"",
                           address, to_text(hop.address), config.ports[index(hop.port)].host_interface,
                           port_name());
    if (!hop.resolved)
        return fmt::format("backend {}: the MAC address of {} is not known: add it to neighbors", address,
                           to_text(hop.address));
    return {};
}

}  // namespace

NextHopRemarks remark_next_hops(const CompiledWorld& world, const Config& config) {
    std::set<NextHopRemarks::Derived> derived;
    std::set<std::pair<IpAddress, std::string>> unresolved;
    for (const BackendInput& backend : world.inputs) {
        if (backend.state == TrafficState::absent) continue;
        if (backend.hop.derived) derived.insert({backend.hop.address, backend.hop.mac, backend.hop.port});
        for (std::size_t mode = 0; mode < kForwardingModes; ++mode) {
            if (!world.modes.test(mode)) continue;
            auto sentence = obstacle(backend, backend.forwarding.value_or(static_cast<ForwardingMode>(mode)),
                                     world, config);
            if (!sentence.empty()) unresolved.emplace(backend.address, std::move(sentence));
        }
    }
    NextHopRemarks remarks;
    remarks.derived.assign(derived.begin(), derived.end());
    for (const auto& [address, sentence] : unresolved) remarks.unresolved.push_back(sentence);
    return remarks;
}

}  // namespace weir
