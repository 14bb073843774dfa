#include "dataplane/tables/service_table.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace weir {
namespace {

template <class Slot>
std::vector<Slot> empty_slots(std::size_t vips) {
    return std::vector<Slot>(std::bit_ceil(4 * vips + 1), Slot{.address = {}, .vip = ServiceTable::kNotVip});
}

// 0 beats 1 beats 2.
int strength(const ServiceRule& rule) noexcept { return rule.any ? 2 : rule.first == rule.last ? 0 : 1; }

struct Span {
    std::uint32_t last;
    ServiceId service;
};
using Spans = std::map<std::uint32_t, Span>;  // by first port; disjoint

// Gives the rule those of its ports that no stronger rule has.
void fill_gaps(Spans& spans, const ServiceRule& rule) {
    std::uint32_t port = rule.first;
    auto next = spans.upper_bound(port);
    if (next != spans.begin()) port = std::max(port, std::prev(next)->second.last + 1);
    while (port <= rule.last) {
        const std::uint32_t end = next == spans.end() ? 65'536 : next->first;
        const std::uint32_t last = std::min<std::uint32_t>(rule.last, end - 1);
        if (port <= last) spans.emplace_hint(next, port, Span{last, rule.service});
        if (next == spans.end()) return;
        port = next->second.last + 1;
        ++next;
    }
}

}  // namespace

std::uint32_t ServiceTable::vip_index(const IpAddress& address) {
    const auto index_in = [this](auto& slots, const auto& key) {
        auto& slot = slots[detail::probe(slots, key)];
        if (slot.vip == kNotVip) {
            slot = {key, static_cast<std::uint32_t>(vips_.size())};
            vips_.emplace_back();
        }
        return slot.vip;
    };
    return address.is_v4() ? index_in(v4_, address.v4()) : index_in(v6_, address.v6());
}

ServiceTable::ServiceTable(std::span<const ServiceRule> rules) {
    std::vector<IpAddress> addresses;
    for (const ServiceRule& rule : rules) addresses.push_back(rule.vip);
    std::sort(addresses.begin(), addresses.end());
    addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    const auto v4 = static_cast<std::size_t>(
        std::count_if(addresses.begin(), addresses.end(), [](const IpAddress& a) { return a.is_v4(); }));
    v4_ = empty_slots<SlotV4>(v4);
    v6_ = empty_slots<SlotV6>(addresses.size() - v4);
    build_intervals(rules);
    build_exact(rules);
}

void ServiceTable::build_intervals(std::span<const ServiceRule> rules) {
    // Stable: within a strength the earlier rule stays in front.
    std::vector<const ServiceRule*> order;
    for (const ServiceRule& rule : rules) order.push_back(&rule);
    const auto rank = [](const ServiceRule* r) { return std::tuple(r->vip, r->protocol, strength(*r)); };
    std::stable_sort(order.begin(), order.end(),
                     [rank](const ServiceRule* a, const ServiceRule* b) { return rank(a) < rank(b); });

    for (std::size_t i = 0; i < order.size();) {
        const IpAddress vip = order[i]->vip;
        const IpProtocol protocol = order[i]->protocol;
        Spans spans;
        for (; i < order.size() && order[i]->vip == vip && order[i]->protocol == protocol; ++i)
            fill_gaps(spans, *order[i]);
        Run run{.begin = static_cast<std::uint32_t>(intervals_.size()), .count = 0};
        for (const auto& [first, span] : spans)
            intervals_.push_back(
                {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(span.last), span.service});
        run.count = static_cast<std::uint32_t>(intervals_.size()) - run.begin;
        Vip& entry = vips_[vip_index(vip)];
        (protocol == IpProtocol::udp ? entry.udp : entry.tcp) = run;
    }
}

// An exact port beats all else, so what the rules say of it is final.
void ServiceTable::build_exact(std::span<const ServiceRule> rules) {
    std::array<std::vector<ExactServices::Entry>, 2> v4, v6;
    for (const ServiceRule& rule : rules) {
        if (strength(rule) != 0) continue;
        const std::size_t protocol = is_udp(rule.protocol);
        if (rule.vip.is_v4())
            v4[protocol].push_back({rule.vip.v4().bits.raw(), Be16(rule.first), rule.service});
        else
            v6[protocol].push_back({find_vip(rule.vip.v6()), Be16(rule.first), rule.service});
    }
    for (const std::size_t protocol : {0u, 1u}) {
        exact_v4_[protocol] = ExactServices(v4[protocol]);
        exact_v6_[protocol] = ExactServices(v6[protocol]);
    }
}

ServiceId ServiceTable::find_service(std::uint32_t vip, IpProtocol protocol,
                                     std::uint16_t port) const noexcept {
    const Vip& entry = vips_[vip];
    const Run run = protocol == IpProtocol::udp ? entry.udp : entry.tcp;
    // The last interval that begins at or below the port is the only one that can hold it.
    const Interval* begin = intervals_.data() + run.begin;
    std::uint32_t count = run.count;
    while (count > 1) {
        const std::uint32_t half = count / 2;
        if (begin[half].first <= port) begin += half;
        count -= half;
    }
    return count == 1 && begin->first <= port && port <= begin->last ? begin->service : kNoService;
}

}  // namespace weir
