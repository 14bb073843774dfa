#include "ctrl/tables/compile_snapshot.h"

#include <algorithm>
#include <cassert>
#include <iterator>

#include "ctrl/tables/compile_values.h"

namespace weir {
namespace {

using namespace compile_values;

// One compilation: the stages in order are in compile().
class Compiler {
  public:
    Compiler(const CompileInput& input, CompiledWorld& world)
        : input_(input), config_(input.delta.next()), world_(world) {}

    std::unique_ptr<const ForwardingSnapshot> compile() {
        compile_ports();
        compile_pools();
        compile_ways();
        compile_services();
        compile_views();
        return assemble();
    }
    [[nodiscard]] const CompileWork& work() const { return work_; }

  private:
    void compile_ports();
    void compile_pools();
    void place_pools();
    void remove_pools();
    [[nodiscard]] std::vector<PoolId> pools_to_look_at() const;
    void compile_pool(PoolId id);
    void set_records(const PoolConfig& config, const IdRegistry::Pool& ids,
                     std::span<const BackendConfig* const> configured,
                     std::span<const CompiledPool::Member> members, CompiledPool& pool);
    void set_input(BackendId id, const BackendInput& next);
    void compile_ways();
    void make_table(const PoolConfig& config, PoolId id, CompiledPool next);
    void set_table(PoolId id, std::shared_ptr<const PoolTable> table, std::string_view name);
    void compile_services();
    void compile_service_records();
    void compile_views();
    void compile_view(ForwardingMode mode, std::size_t chunks);
    void compile_chunk(ForwardingMode mode, std::size_t chunk, std::span<const BackendId> ids);
    void add_snat(const PortConfig& port, PortRecord& record, ForwardingSnapshot& snapshot);
    std::unique_ptr<const ForwardingSnapshot> assemble();

    const CompileInput& input_;
    const Config& config_;
    CompiledWorld& world_;
    CompileWork work_;
    bool hops_changed_ = false;   // ways to all backends must be looked up again
    bool ports_changed_ = false;  // and all records made again
    std::vector<BackendId> dirty_;
    std::bitset<kForwardingModes> old_modes_;
};

void Compiler::compile_ports() {
    assert(input_.ports.size() == config_.ports.size());
    hops_changed_ = !world_.hops.has_value() || input_.delta.ways_changed();
    if (hops_changed_) world_.hops.emplace(config_, world_.derive_unknown_macs, world_.kernel);
    ports_changed_ = !std::ranges::equal(world_.ports, input_.ports);
    if (ports_changed_) world_.ports.assign(input_.ports.begin(), input_.ports.end());
}

void Compiler::compile_pools() {
    if (world_.inputs.size() < input_.ids.backend_ids()) world_.inputs.resize(input_.ids.backend_ids());
    if (!input_.delta.is_none()) {
        remove_pools();
        place_pools();
    }
    for (const PoolId id : pools_to_look_at()) compile_pool(id);
}

void Compiler::remove_pools() {
    for (const PoolConfig* removed : input_.delta.removed_pools()) {
        const auto place = world_.pool_ids.find(removed->name);
        CompiledPool& pool = world_.pools[index(place->second)];
        for (const BackendId id : pool.ids) set_input(id, {});
        set_table(place->second, nullptr, {});
        pool = {};
        world_.pool_ids.erase(place);
    }
}

// Where the pools stand in this configuration; new ones get their place in the tables.
void Compiler::place_pools() {
    world_.pools.resize(input_.ids.pool_ids());
    world_.tables.resize(input_.ids.pool_ids());
    world_.services_of_pools.resize(input_.ids.pool_ids());
    for (const std::size_t place : input_.delta.changed_pools()) {
        const std::string& name = config_.pools[place].name;
        world_.pool_ids.emplace(name, input_.ids.find_pool(name)->id);
    }
    for (std::size_t place = 0; place < config_.pools.size(); ++place)
        world_.pools[index(world_.pool_ids.find(config_.pools[place].name)->second)].place = place;
}

std::vector<PoolId> Compiler::pools_to_look_at() const {
    std::vector<PoolId> ids;
    if (hops_changed_) {
        for (const auto& [name, id] : world_.pool_ids) ids.push_back(id);
        return ids;
    }
    for (const std::size_t place : input_.delta.changed_pools())
        ids.push_back(world_.pool_ids.find(config_.pools[place].name)->second);
    for (const PoolId id : input_.drained) ids.push_back(id);
    // A backend that is not known yet, or is absent, belongs to no pool so far: compiling its pool asks
    // again.
    for (const BackendId id : input_.traffic.changed())
        if (index(id) < world_.inputs.size()) ids.push_back(world_.inputs[index(id)].pool);
    std::ranges::sort(ids);
    const auto repeated = std::ranges::unique(ids);
    ids.erase(repeated.begin(), repeated.end());
    std::erase_if(ids, [this](PoolId id) { return !world_.is_placed(id); });
    return ids;
}

void Compiler::compile_pool(PoolId id) {
    CompiledPool& pool = world_.pools[index(id)];
    const PoolConfig& config = config_.pools[pool.place];
    const IdRegistry::Pool& ids = *input_.ids.find_pool(config.name);
    CompiledPool next;
    next.place = pool.place;
    next.slots = config.table_size.value_or(MaglevTable::slots_for(config.backends.size()));
    std::vector<const BackendConfig*> by_name;
    for (const BackendConfig& backend : config.backends) by_name.push_back(&backend);
    std::ranges::sort(by_name, {}, &BackendConfig::name);
    // The registry has the same backends in the same order, and between them some that drain or are gone.
    auto known = ids.backends.begin();
    for (const BackendConfig* backend : by_name) {
        while (known->phase != IdPhase::serving) ++known;
        const unsigned weight = backend->drained ? 0 : backend->weight;
        const MemberTraffic traffic = input_.traffic[known->id];
        next.members.push_back({backend->name, weight, traffic.eligible, known->id, traffic.ramp});
        ++known;
    }
    set_records(config, ids, by_name, next.members, pool);
    make_table(config, id, std::move(next));
}

// What known flows may expect of a backend. `member`: null if it is not in the configuration any more.
TrafficState traffic_state(const CompiledPool::Member* member, MemberTraffic traffic) {
    if (member != nullptr && member->eligible)
        return member->weight == 0 ? TrafficState::draining : TrafficState::serving;
    return traffic.known == TrafficState::serving ? TrafficState::draining : traffic.known;
}

// Every backend of the pool that packets may still go to, and those that went. `configured` and `members`
// stand in the registry's order.
void Compiler::set_records(const PoolConfig& config, const IdRegistry::Pool& ids,
                           std::span<const BackendConfig* const> configured,
                           std::span<const CompiledPool::Member> members, CompiledPool& pool) {
    std::vector<BackendId> present;
    std::size_t serving = 0;
    for (const IdRegistry::Backend& backend : ids.backends) {
        if (backend.phase == IdPhase::gone) continue;
        const bool serves = backend.phase == IdPhase::serving;
        present.push_back(backend.id);
        set_input(backend.id,
                  {.pool = ids.id,
                   .state = traffic_state(serves ? &members[serving] : nullptr, input_.traffic[backend.id]),
                   .forwarding = backend.forwarding ? backend.forwarding : config.forwarding,
                   .address = backend.address,
                   .port = serves ? configured[serving]->port.value_or(0) : std::uint16_t{0},
                   .identity = config.client_address,
                   .id = backend.id,
                   .hop = world_.hops->find(backend.address)});
        serving += serves ? 1 : 0;
    }
    std::ranges::sort(present);
    std::vector<BackendId> went;
    std::ranges::set_difference(pool.ids, present, std::back_inserter(went));
    for (const BackendId id : went) set_input(id, {});
    pool.ids = std::move(present);
}

void Compiler::set_input(BackendId id, const BackendInput& next) {
    BackendInput& old = world_.inputs[index(id)];
    if (old == next) return;
    old = next;
    dirty_.push_back(id);
}

// Backends whose way the kernel has changed.
void Compiler::compile_ways() {
    if (input_.ways == nullptr || input_.ways->none() || hops_changed_) return;
    for (std::size_t id = 0; id < world_.inputs.size(); ++id) {
        BackendInput& backend = world_.inputs[id];
        if (backend.address == IpAddress{}) continue;  // nobody has the id
        if (!input_.ways->concerns(backend.address, backend.hop.address)) continue;
        BackendInput next = backend;
        next.hop = world_.hops->find(backend.address);
        set_input(BackendId{static_cast<std::uint32_t>(id)}, next);
    }
}

void Compiler::make_table(const PoolConfig& config, PoolId id, CompiledPool next) {
    CompiledPool& old = world_.pools[index(id)];
    const std::shared_ptr<const PoolTable> old_table = world_.tables[index(id)];
    const bool reuse_maglev = old_table != nullptr && same_selection(old, next);
    const bool reuse_table = reuse_maglev && same_targets(old, next) &&
                             old_table->input == selection_input(config) &&
                             old_table->sticky == sticky_rule(config);
    next.ids = std::move(old.ids);
    next.checksum = old.checksum;
    old = std::move(next);
    if (reuse_table) return;
    auto table = std::make_shared<PoolTable>();
    table->id = id;
    table->input = selection_input(config);
    table->sticky = sticky_rule(config);
    for (const CompiledPool::Member& member : old.members) table->members.push_back(member.id);
    if (reuse_maglev) {
        table->maglev = old_table->maglev;
    } else {
        std::vector<MaglevMember> members;
        for (const CompiledPool::Member& member : old.members)
            members.push_back({member.name, member.weight, member.eligible});
        table->maglev = MaglevTable::build(world_.selection_key, config.name, members, old.slots);
        ++work_.maglevs;
    }
    std::vector<Ramp> ramps;
    for (const CompiledPool::Member& member : old.members) ramps.push_back(member.ramp);
    table->ramps = Ramps(std::move(ramps), table->maglev);
    set_table(id, std::move(table), config.name);
    ++work_.pools;
}

// Null: the pool goes.
void Compiler::set_table(PoolId id, std::shared_ptr<const PoolTable> table, std::string_view name) {
    CompiledPool& pool = world_.pools[index(id)];
    world_.checksum -= pool.checksum;
    pool.checksum = table != nullptr ? fnv1a(fnv1a(kFnvBasis, name), table->maglev.checksum()) : 0;
    world_.checksum += pool.checksum;
    for (const ServiceId service : world_.services_of_pools[index(id)])
        world_.service_records[index(service)].table = table.get();
    world_.tables[index(id)] = std::move(table);
}

void Compiler::compile_services() {
    old_modes_ = world_.modes;
    if (!input_.delta.services_changed()) return;
    world_.modes.reset();
    std::vector<ServiceRule> rules;
    for (const ServiceConfig& service : config_.services) {
        const ServiceId id = input_.ids.service_id(service.name, service.vip);
        world_.modes.set(static_cast<std::size_t>(service.forwarding));
        for (const PortRange& range : service.ports) {
            if (service.tcp)
                rules.push_back({service.vip, IpProtocol::tcp, range.first, range.last, range.any, id});
            if (service.udp)
                rules.push_back({service.vip, IpProtocol::udp, range.first, range.last, range.any, id});
        }
    }
    compile_service_records();
    // "any" covers port 0 too (ServiceRule), whatever the configuration calls its first port.
    for (ServiceRule& rule : rules)
        if (rule.any) rule.first = 0, rule.last = 0xffff;
    if (same_rules(rules, world_.rules)) return;
    world_.services = ServiceTable(rules);
    world_.rules = std::move(rules);
}

void Compiler::compile_service_records() {
    world_.service_records.assign(input_.ids.service_ids(), {});
    world_.service_vips.assign(input_.ids.service_ids(), {});
    world_.services_of_pools.assign(input_.ids.pool_ids(), {});
    for (const ServiceConfig& service : config_.services) {
        const ServiceId id = input_.ids.service_id(service.name, service.vip);
        const PoolId pool = world_.pool_ids.find(service.pool)->second;
        world_.service_records[index(id)] = {pool, service.forwarding, world_.tables[index(pool)].get()};
        world_.service_vips[index(id)] = service.vip;
        world_.services_of_pools[index(pool)].push_back(id);
    }
}

void Compiler::compile_views() {
    std::ranges::sort(dirty_);
    work_.records = dirty_.size();
    const std::size_t chunks = (world_.inputs.size() + kBackendsPerChunk - 1) / kBackendsPerChunk;
    for (std::size_t mode = 0; mode < kForwardingModes; ++mode) {
        if (world_.modes.test(mode))
            compile_view(static_cast<ForwardingMode>(mode), chunks);
        else
            world_.chunks[mode].clear();
    }
}

// New chunks whole, of the others what is dirty.
void Compiler::compile_view(ForwardingMode mode, std::size_t chunks) {
    const auto m = static_cast<std::size_t>(mode);
    const std::size_t built = old_modes_.test(m) && !ports_changed_ ? world_.chunks[m].size() : 0;
    world_.chunks[m].resize(chunks);
    const auto chunk_of = [](BackendId id) { return index(id) / kBackendsPerChunk; };
    for (auto first = dirty_.begin(); first != dirty_.end();) {
        const std::size_t chunk = chunk_of(*first);
        const auto end =
            std::find_if(first, dirty_.end(), [&](BackendId id) { return chunk_of(id) != chunk; });
        if (chunk < built) compile_chunk(mode, chunk, {first, end});
        first = end;
    }
    for (std::size_t chunk = built; chunk < chunks; ++chunk) {
        std::vector<BackendId> all;
        const std::size_t end = std::min(world_.inputs.size(), (chunk + 1) * kBackendsPerChunk);
        for (std::size_t id = chunk * kBackendsPerChunk; id < end; ++id)
            all.push_back(BackendId{static_cast<std::uint32_t>(id)});
        compile_chunk(mode, chunk, all);
    }
}

// A new chunk: the old one's records, or absent ones, and those of `ids` made anew.
void Compiler::compile_chunk(ForwardingMode mode, std::size_t chunk, std::span<const BackendId> ids) {
    auto& place = world_.chunks[static_cast<std::size_t>(mode)][chunk];
    auto next = place != nullptr ? std::make_shared<BackendChunk>(*place) : std::make_shared<BackendChunk>();
    for (const BackendId id : ids) {
        const BackendInput& backend = world_.inputs[index(id)];
        const std::size_t port = index(backend.hop.port);
        BackendRecord& record = (*next)[index(id) % kBackendsPerChunk];
        record =
            make_backend_record(backend, mode, port < world_.ports.size() ? world_.ports[port] : PortFacts{});
        world_.has_dnat |= record.mode == ForwardingMode::dnat;
    }
    place = std::move(next);
    ++work_.chunks;
}

// The addresses that the port translates to, each with the next id: `ports` are fixed while weir runs.
void Compiler::add_snat(const PortConfig& port, PortRecord& record, ForwardingSnapshot& snapshot) {
    for (const IpAddress& address : port.snat.addresses) {
        record.snat.push_back({address, SnatId{static_cast<std::uint8_t>(snapshot.snat_addresses.size())}});
        snapshot.snat_addresses.push_back(address);
    }
    record.resets_when_exhausted = port.snat.resets_when_exhausted;
    record.takes_foreign = world_.has_dnat;
    if (!record.takes_replies()) return;
    SnatPortTables& tables = world_.snat_ports[{port.snat.ports.first, port.snat.ports.last}];
    if (tables.v4 == nullptr) tables = make_snat_ports(port.snat.ports, input_.workers);
    record.snat_ports_v4 = tables.v4;
    record.snat_ports_v6 = tables.v6;
}

std::unique_ptr<const ForwardingSnapshot> Compiler::assemble() {
    auto snapshot = std::make_unique<ForwardingSnapshot>();
    snapshot->generation = input_.generation;
    snapshot->selection_key = world_.selection_key;
    snapshot->timeouts =
        TimeoutTable({to_ticks(config_.timeouts.tcp_opening), to_ticks(config_.timeouts.tcp_established),
                      to_ticks(config_.timeouts.tcp_closing), to_ticks(config_.timeouts.udp)});
    snapshot->session_timeouts = {.established = to_ticks(config_.timeouts.nat_tcp_established),
                                  .transitory = to_ticks(config_.timeouts.nat_tcp_transitory),
                                  .udp = to_ticks(config_.timeouts.nat_udp),
                                  .time_wait = to_ticks(config_.timeouts.nat_tcp_time_wait)};
    snapshot->service_vips = world_.service_vips;
    snapshot->services = world_.services;
    for (std::size_t mode = 0; mode < kForwardingModes; ++mode)
        if (world_.modes.test(mode)) snapshot->backends[mode] = BackendView(world_.chunks[mode]);
    snapshot->pools = world_.tables;
    snapshot->has_sticky_pools = std::ranges::any_of(
        world_.tables, [](const auto& table) { return table != nullptr && table->sticky.is_on(); });
    snapshot->checksum = world_.checksum;
    snapshot->service_records = world_.service_records;
    for (std::size_t i = 0; i < config_.ports.size(); ++i) {
        PortRecord record{};
        record.mac = world_.ports[i].mac;
        record.enabled = !input_.disabled_ports.test(i);
        record.any_destination_mac = world_.ports[i].any_destination_mac;
        record.can_send_chains = world_.ports[i].can_send_chains;
        record.vlan = world_.ports[i].vlan;
        record.mtu = world_.ports[i].mtu;
        record.has_host = !config_.ports[i].host_interface.empty();
        add_snat(config_.ports[i], record, *snapshot);
        snapshot->exits[i].egress = PortId{static_cast<std::uint8_t>(i)};
        record.addresses =
            own_addresses(PortId{static_cast<std::uint8_t>(i)}, config_.ports[i], world_.kernel);
        snapshot->ports.push_back(std::move(record));
    }
    return snapshot;
}

}  // namespace

std::unique_ptr<const ForwardingSnapshot> compile_snapshot(const CompileInput& input, CompiledWorld& world,
                                                           CompileWork* work) {
    Compiler compiler(input, world);
    auto snapshot = compiler.compile();
    if (work != nullptr) *work = compiler.work();
    return snapshot;
}

}  // namespace weir
