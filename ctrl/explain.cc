#include "ctrl/explain.h"

#include <algorithm>

#include "dataplane/net/address_text.h"
#include "dataplane/net/drop_reason.h"
#include "dataplane/net/headers.h"
#include "dataplane/net/parse_headers.h"
#include "dataplane/tables/selection.h"

namespace weir {

namespace {

std::uint32_t find_vip(const ServiceTable& services, const IpAddress& vip) {
    return vip.is_v4() ? services.find_vip(vip.v4()) : services.find_vip(vip.v6());
}

template <class Family>
typename Family::Key key_of(const FlowQuestion& question) {
    typename Family::Key key{};
    if constexpr (Family::kFamily == weir::Family::v4) {
        key.source = question.client.v4();
        key.destination = question.vip.v4();
    } else {
        key.source = question.client.v6();
        key.destination = question.vip.v6();
    }
    key.source_port = Be16(question.client_port);
    key.destination_port = Be16(question.vip_port);
    key.protocol = question.protocol;
    return key;
}

std::uint64_t hash_of(const ForwardingSnapshot& snapshot, const FlowQuestion& question,
                      const PoolTable& pool) {
    return question.vip.is_v4() ? selection_hash<V4>(snapshot.selection_key, key_of<V4>(question), pool)
                                : selection_hash<V6>(snapshot.selection_key, key_of<V6>(question), pool);
}

std::string_view hashed_by(const PoolTable& pool) {
    if (pool.sticky.is_on()) return "client_prefix";
    return pool.input == SelectionInput::five_tuple ? "five_tuple" : "source_ip";
}

const ServiceConfig& service_config(const ExplainedWorld& world, ServiceId id) {
    return *std::find_if(world.config.services.begin(), world.config.services.end(),
                         [&](const ServiceConfig& s) { return world.ids.service_id(s.name, s.vip) == id; });
}

void explain_backend(const ExplainedWorld& world, const ServiceRecord& service, BackendId id,
                     FlowExplanation& answer) {
    const IdRegistry::Pool& pool = *world.ids.find_pool(answer.pool);
    const auto backend =
        std::find_if(pool.backends.begin(), pool.backends.end(), [&](const auto& b) { return b.id == id; });
    const BackendRecord& record = world.snapshot.backends[static_cast<std::size_t>(service.mode)][id];
    answer.backend = backend->name;
    answer.backend_address = to_text(backend->address);
    answer.mode = name_of(record.mode);
    answer.port = world.config.ports[index(record.egress)].name;
    MacAddress next_hop{};
    std::copy_n(record.header.begin(), next_hop.bytes.size(), next_hop.bytes.begin());
    answer.next_hop_mac = to_text(next_hop);
    answer.overhead = static_cast<std::uint16_t>(record.header_length - sizeof(EthernetHeader) -
                                                 world.config.ports[index(record.egress)].vlan.bytes());
    if (!record.resolved) answer.dropped = name_of(DropReason::no_neighbor);
}

// The port that has the address for its own, if its host interface has the kernel behind it.
std::string port_of_kernel(const ExplainedWorld& world, const IpAddress& address) {
    for (std::size_t i = 0; i < world.snapshot.ports.size(); ++i) {
        const PortRecord& port = world.snapshot.ports[i];
        if (port.has_host && std::ranges::find(port.addresses, address) != port.addresses.end())
            return world.config.ports[i].name;
    }
    return {};
}

// No service takes it: the kernel's, or dropped.
void explain_without_service(const ExplainedWorld& world, const FlowQuestion& question, DropReason reason,
                             FlowExplanation& answer) {
    answer.punted = port_of_kernel(world, question.vip);
    if (answer.punted.empty()) answer.dropped = name_of(reason);
}

// RFC 1812 5.3.7, as the parser judges it.
bool has_martian_source(const FlowQuestion& question) {
    if (question.client == question.vip) return true;
    return question.client.is_v4() ? is_martian_source(question.client.v4())
                                   : is_martian_source(question.client.v6(), question.protocol);
}

}  // namespace

FlowExplanation explain_flow(const ExplainedWorld& world, const FlowQuestion& question) {
    const ForwardingSnapshot& snapshot = world.snapshot;
    FlowExplanation answer;
    if (has_martian_source(question)) {
        answer.dropped = name_of(DropReason::ip_martian_source);
        return answer;
    }
    const std::uint32_t vip = find_vip(snapshot.services, question.vip);
    if (vip == ServiceTable::kNotVip) {
        explain_without_service(world, question, DropReason::not_vip, answer);
        return answer;
    }
    const ServiceId id = snapshot.services.find_service(vip, question.protocol, question.vip_port);
    if (id == kNoService) {
        explain_without_service(world, question, DropReason::no_service, answer);
        return answer;
    }
    const ServiceRecord& service = snapshot.service_records[index(id)];
    const PoolTable& pool = *service.table;
    answer.service = service_config(world, id).name;
    answer.pool = service_config(world, id).pool;
    answer.hashed = hashed_by(pool);
    answer.hash = hash_of(snapshot, question, pool);
    answer.slots = static_cast<std::uint32_t>(pool.maglev.slots().size());
    const auto [member, hash] = choose_member(pool, answer.hash, world.now);
    if (member == MaglevTable::kNoMember) {
        answer.dropped = name_of(DropReason::no_backend);
        return answer;
    }
    answer.slot = pool.maglev.slot_of(hash);
    answer.backend_slots = static_cast<std::uint32_t>(
        std::count(pool.maglev.slots().begin(), pool.maglev.slots().end(), member));
    explain_backend(world, service, pool.members[member], answer);
    return answer;
}

}  // namespace weir
