#include "tests/bench/rows.h"

namespace weir::bench {

namespace {

constexpr std::uint32_t kKilo = 1'000, kMega = 1'000'000;

std::string flows_text(std::uint32_t flows) {
    if (flows >= kMega) return std::to_string(flows / kMega) + "M";
    if (flows >= kKilo) return std::to_string(flows / kKilo) + "k";
    return std::to_string(flows);
}

bool is_untunnelled(ForwardingMode mode) {
    return mode == ForwardingMode::dsr || mode == ForwardingMode::nat;
}

Row row(ForwardingMode mode, std::uint32_t flows, Family family = Family::v4, Family outer = Family::v4) {
    Row made;
    made.mode = mode;
    made.flows = flows;
    made.family = family;
    made.outer = outer;
    return made;
}

class List {
  public:
    void add(Row subject) {
        subject.name = name_of_row(subject);
        list_.push_back({std::move(subject), std::nullopt});
    }
    void add(Row subject, Row reference) {
        subject.name = name_of_row(subject);
        reference.name = name_of_row(reference);
        list_.push_back({std::move(subject), std::move(reference)});
    }
    std::vector<Measurement> take() { return std::move(list_); }

  private:
    std::vector<Measurement> list_;
};

using enum ForwardingMode;

void add_modes(List& list, bool quick) {
    for (const std::uint32_t flows : {1u, kKilo, 64 * kKilo, kMega, 4 * kMega, 16 * kMega}) {
        if (quick && flows != kKilo && flows != kMega) continue;
        list.add(row(dsr, flows));
        list.add(row(ipip, flows));
        list.add(row(gue, flows), row(ipip, flows));
        list.add(row(dsr, flows, Family::v6), row(dsr, flows));
        list.add(row(ipip, flows, Family::v6, Family::v6), row(ipip, flows));
        if (quick) continue;
        list.add(row(ipip, flows, Family::v6, Family::v4));
        list.add(row(ipip, flows, Family::v4, Family::v6));
        list.add(row(gue, flows, Family::v6, Family::v6), row(ipip, flows, Family::v6, Family::v6));
        list.add(row(gue, flows, Family::v6, Family::v4));
        list.add(row(gue, flows, Family::v4, Family::v6));
    }
    if (quick) list.add(row(ipip, 16 * kMega));
}

void add_flow_mixes(List& list, bool quick) {
    for (const std::uint32_t flows : {kKilo, kMega, 16 * kMega}) {
        if (quick && flows == 16 * kMega) continue;
        const Row known = row(ipip, flows);
        Row fresh = known, half = known, flood = known;
        fresh.mix = Mix::fresh;
        half.mix = Mix::half;
        flood.mix = Mix::syn_flood;
        list.add(fresh, known);
        list.add(flood, fresh);
        if (!quick) list.add(half, known);
    }
}

void add_scale(List& list, bool quick) {
    for (const std::uint32_t flows : {64 * kKilo, kMega}) {
        if (quick && flows == kMega) continue;
        const Row one = row(ipip, flows);
        Row backends = one, services = one, many = one, pools = one;
        backends.backends = kKilo;
        list.add(backends, one);
        services.services = kKilo;
        list.add(services, one);
        many.services = 10 * kKilo;
        list.add(many, one);
        pools.services = kKilo;
        pools.own_pools = true;
        if (!quick) list.add(pools, one);
    }
}

void add_packets(List& list, bool quick) {
    for (const std::uint32_t flows : {kKilo, kMega}) {
        if (quick && flows == kMega) continue;
        Row runs = row(ipip, flows), udp = runs, large = runs, offload = runs;
        runs.order = Order::runs;
        list.add(runs);
        udp.protocol = IpProtocol::udp;
        list.add(udp);
        large.frame_bytes = 1'400;
        list.add(large);
        offload.checksum_offload = true;
        list.add(offload);
    }
}

// Beside ipip over the same family and as many backends; replies beside the packets that they answer. One
// SNAT address is enough for a million flows to kNatBackends.
void add_nat(List& list, bool quick) {
    for (const std::uint32_t flows : {kKilo, 64 * kKilo, kMega}) {
        if (quick && flows == 64 * kKilo) continue;
        for (const Family family : {Family::v4, Family::v6}) {
            Row known = row(nat, flows, family), tunnel = row(ipip, flows, family, family);
            known.backends = tunnel.backends = kNatBackends;
            Row replies = known, fresh = known, fresh_tunnel = tunnel;
            list.add(known, tunnel);
            replies.direction = Direction::to_client;
            list.add(replies, known);
            fresh.mix = fresh_tunnel.mix = Mix::fresh;
            list.add(fresh, fresh_tunnel);
        }
    }
}

}  // namespace

std::string name_of_row(const Row& row) {
    std::string name(name_of(row.mode));
    const std::string inner = row.family == Family::v4 ? "4" : "6",
                      outer = row.outer == Family::v4 ? "4" : "6";
    name += is_untunnelled(row.mode) ? " v" + inner : " " + inner + "in" + outer;
    name += " " + flows_text(row.flows);
    if (row.order == Order::runs) name += " runs";
    if (row.mix == Mix::fresh) name += " new";
    if (row.mix == Mix::half) name += " half new";
    if (row.mix == Mix::syn_flood) name += " syn flood";
    if (row.direction == Direction::to_client) name += " replies";
    if (row.protocol == IpProtocol::udp) name += " udp";
    if (row.services > 1) name += " " + flows_text(row.services) + " services";
    if (row.own_pools) name += " own pools";
    if (row.backends != 2) name += " " + flows_text(row.backends) + " backends";
    if (row.frame_bytes != 60) name += " " + std::to_string(row.frame_bytes) + " B";
    if (row.checksum_offload) name += " rx offload";
    return name;
}

std::vector<Measurement> measurements(bool quick) {
    List list;
    add_modes(list, quick);
    add_flow_mixes(list, quick);
    add_scale(list, quick);
    add_packets(list, quick);
    add_nat(list, quick);
    return list.take();
}

}  // namespace weir::bench
