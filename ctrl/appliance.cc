#include "ctrl/appliance.h"

#include <fmt/format.h>
#include <rte_launch.h>
#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "ctrl/config/devices.h"
#include "ctrl/snat_range.h"
#include "ctrl/table_sizes.h"
#include "drivers/device_name.h"
#include "drivers/worker_cpus.h"

namespace weir {

namespace {

// What follows a start-up step that went wrong.
tl::unexpected<Error> failed(const Result<void>& step) { return tl::make_unexpected(step.error()); }

// PCI devices that EAL has to take from the machine; everything else is plugged in later.
std::vector<std::string> pci_devices(const Config& config) {
    std::vector<std::string> names;
    for (const DeviceConfig& of : devices_of(config)) {
        const auto device = parse_device(config.ports[of.ports.front()].device, 1, of.mtu);
        if (device && device->bus == DeviceName::Bus::pci) names.push_back(device->text());
    }
    return names;
}

std::uint32_t frames_held_by_devices(const Config& config) {
    std::uint32_t frames = 0;
    for (const DeviceConfig& of : devices_of(config))
        if (const auto device = parse_device(config.ports[of.ports.front()].device, 1, of.mtu))
            frames += held_frames(*device);
    return frames;
}

PortSpec spec_of(const PortConfig& port, std::size_t index, const DeviceConfig& device,
                 const DataplaneConfig& dataplane, unsigned workers) {
    PortSpec spec;
    spec.index = static_cast<unsigned>(index);
    spec.name = port.name;
    spec.device = port.device;
    if (device.mac) spec.mac = device.mac->bytes;
    spec.mtu = port.mtu;
    spec.device_mtu = device.mtu;
    spec.tag_bytes = device.tag_bytes;
    spec.queues = static_cast<std::uint16_t>(workers);
    spec.rx_interrupts = dataplane.idle == IdleMode::sleep;
    return spec;
}

// The flow table's key: random at each start and known to nobody, so that nobody can aim at a bucket.
Result<HashKey> random_key() {
    std::array<std::uint8_t, kHashKeyBytes> secret;
    if (getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
        return machine_error(fmt::format("getrandom: {}", std::strerror(errno)));
    return HashKey(secret);
}

int run_worker(void* worker) {
    static_cast<Worker*>(worker)->run();
    return 0;
}

}  // namespace

Result<void> Appliance::start_eal(const Config& config, Notify& notify) {
    const DataplaneConfig& dataplane = config.dataplane;
    if (dataplane.cpus.empty()) {
        auto chosen =
            choose_worker_cpus(dataplane.workers, dataplane.control_cpu, dataplane.idle == IdleMode::sleep);
        if (!chosen) return tl::make_unexpected(chosen.error());
        worker_cpus_ = chosen->cpus;
        for (const std::string& note : chosen->notes) notify(Severity::warning, note);
    } else {
        worker_cpus_ = dataplane.cpus;
    }
    EalOptions options;
    options.control_cpu = dataplane.control_cpu;
    options.worker_cpus = worker_cpus_;
    options.host_thread = true;
    options.hugepages = dataplane.hugepages;
    options.memory = dataplane.memory;
    options.pci_devices = pci_devices(config);
    auto eal = Eal::start(options);
    if (!eal) return tl::make_unexpected(eal.error());
    eal_ = std::make_unique<Eal>(std::move(*eal));
    if (!eal_->startup_log().empty())
        notify(Severity::warning, fmt::format("DPDK says: {}", eal_->startup_log()));
    return {};
}

Result<void> Appliance::open_ports(const Config& config, const Notify& notify) {
    const std::vector<DeviceConfig> devices = devices_of(config);
    PoolDemand demand;
    demand.ports = static_cast<std::uint32_t>(devices.size());
    demand.workers = static_cast<std::uint32_t>(worker_cpus_.size());
    demand.held_per_worker = 2 * HostRings::kFrames + WorkerRings::frames_held(demand.workers);
    demand.held_by_devices = frames_held_by_devices(config);
    pools_ = std::make_unique<MbufPools>(demand);
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        const DeviceConfig& device = device_of(devices, i);
        const PortSpec spec = spec_of(config.ports[i], i, device, config.dataplane, demand.workers);
        if (device.ports.front() != i) {
            ports_.push_back(Port::on_device_of(ports_[device.ports.front()], spec));
            continue;
        }
        auto port = Port::open(spec, *pools_);
        if (!port) return tl::make_unexpected(port.error());
        for (const std::string& note : port->notes()) notify(Severity::warning, note);
        ports_.push_back(std::move(*port));
    }
    return {};
}

Result<void> Appliance::open_kernel(const Config& config, const Notify& notify) {
    std::vector<std::string> host_interfaces;
    for (const PortConfig& port : config.ports) host_interfaces.push_back(port.host_interface);
    if (std::ranges::all_of(host_interfaces, &std::string::empty)) return {};
    auto kernel = KernelView::open(host_interfaces, notify);
    if (!kernel) return tl::make_unexpected(kernel.error());
    kernel_ = std::move(*kernel);
    return {};
}

Result<void> Appliance::make_world(const Config& config, WorldOptions options) {
    for (std::size_t w = 0; w < worker_cpus_.size(); ++w) {
        counters_.push_back(std::make_unique<WorkerCounters>());
        counter_pointers_.push_back(counters_.back().get());
    }
    options.worker_cpus = worker_cpus_;
    options.wake_workers = [this] {
        for (const auto& worker : workers_) worker->wake();
    };
    for (const Port& port : ports_)
        options.ports.push_back({.mac = MacAddress{port.mac()},
                                 .mtu = port.mtu(),
                                 .can_send_chains = port.can_send_chains(),
                                 .vlan = config.ports[port.index()].vlan});
    if (kernel_ != nullptr) {
        options.kernel = &kernel_->ways();
        options.want_ways = [this](const std::vector<IpAddress>& wanted) { kernel_->want(wanted); };
    }
    world_ = std::make_unique<World>(std::move(options), counter_pointers_);
    const auto applied = world_->apply(config);
    if (!applied) return tl::make_unexpected(applied.error());
    return {};
}

Result<void> Appliance::link_workers() {
    if (worker_cpus_.size() == 1) return {};
    auto rings = WorkerRings::make(static_cast<std::uint32_t>(worker_cpus_.size()));
    if (!rings) return tl::make_unexpected(rings.error());
    worker_rings_ = std::move(*rings);
    return {};
}

Result<void> Appliance::launch_workers(const Config& config) {
    const TableSizes sizes = table_sizes(config);
    const std::size_t table_bytes = TableMemory::bytes_for(sizes);
    const auto host_key = random_key(), sticky_key = random_key();
    if (!host_key) return tl::make_unexpected(host_key.error());
    if (!sticky_key) return tl::make_unexpected(sticky_key.error());
    host_flows_ = std::make_unique<HostFlows>(*host_key);
    for (std::uint32_t w = 0; w < worker_cpus_.size(); ++w) {
        auto memory = HugeMemory::allocate(table_bytes, config.dataplane.hugepages);
        if (!memory) return tl::make_unexpected(memory.error());
        if (config.dataplane.hugepages && memory->kind() != HugeMemory::Kind::hugepages)
            world_->notify(Severity::warning, fmt::format("worker {}: no {} MB of reserved hugepages left "
                                                          "for its tables; ordinary memory serves, "
                                                          "with more TLB misses",
                                                          w, (table_bytes >> 20) + 1));
        const auto key = random_key();
        if (!key) return tl::make_unexpected(key.error());
        table_memory_.push_back(std::move(*memory));
        WorkerSpec spec{.id = w,
                        .queues = {},
                        .tables = TableMemory::in(table_memory_.back().bytes(), sizes),
                        .flow_hash_key = *key,
                        .sticky_key = *sticky_key,
                        .rings = worker_rings_.get(),
                        .counters = counter_pointers_[w],
                        .workers = static_cast<std::uint32_t>(worker_cpus_.size()),
                        .host = &host_side_->thread().rings(w),
                        .host_flows = host_flows_.get(),
                        .probe_ports = &probe_ports_,
                        .sleeps_when_idle = config.dataplane.idle == IdleMode::sleep,
                        .rx_interrupts = std::ranges::all_of(ports_, &Port::has_rx_interrupts)};
        for (Port& port : ports_) {
            const auto queue = static_cast<std::uint16_t>(w);
            spec.queues.push_back(
                {port.rx_queue(queue), port.tx_queue(queue), config.ports[port.index()].vlan});
        }
        workers_.push_back(std::make_unique<Worker>(spec, world_->published()));
        if (rte_eal_remote_launch(run_worker, workers_.back().get(), Eal::lcore(w)) != 0)
            return machine_error(fmt::format("worker {}: its core is busy", w));
    }
    return {};
}

void Appliance::keep_ports() {
    const auto hand_out = [this](Port& port) {
        for (std::uint16_t w = 0; w < workers_.size(); ++w)
            workers_[w]->set_queues(static_cast<PortId>(port.index()), {port.rx_queue(w), port.tx_queue(w)});
    };
    port_keeper_ = std::make_unique<PortKeeper>(ports_, *pools_, *world_, hand_out);
}

Result<std::unique_ptr<Appliance>> Appliance::start(
    const Config& config, const HashKey& selection_key, Notify notify,
    std::function<void(World&, const ConfigDelta&)> assigned) {
    if (auto step = check_snat_ranges(config); !step) return failed(step);
    std::unique_ptr<Appliance> appliance(new Appliance);
    if (auto step = appliance->start_eal(config, notify); !step) return failed(step);
    if (auto step = appliance->open_ports(config, notify); !step) return failed(step);
    auto host_side = HostSide::open(config, appliance->ports_,
                                    static_cast<unsigned>(appliance->worker_cpus_.size()), notify);
    if (!host_side) return tl::make_unexpected(host_side.error());
    appliance->host_side_ = std::move(*host_side);
    if (auto step = appliance->open_kernel(config, notify); !step) return failed(step);
    WorldOptions options;
    options.selection_key = selection_key;
    options.notify = notify;
    options.assigned = std::move(assigned);
    if (auto step = appliance->make_world(config, std::move(options)); !step) return failed(step);
    if (auto step = appliance->link_workers(); !step) return failed(step);
    if (auto step = appliance->launch_workers(config); !step) return failed(step);
    appliance->keep_ports();
    appliance->host_side_->thread().launch(
        appliance->eal_->host_lcore(),
        [a = appliance.get()](unsigned worker) { a->workers_[worker]->wake(); });
    return appliance;
}

Appliance::~Appliance() {
    for (const auto& worker : workers_) worker->stop();
    for (unsigned w = 0; w < workers_.size(); ++w) rte_eal_wait_lcore(Eal::lcore(w));
    if (host_side_ != nullptr) host_side_->thread().stop();
}

}  // namespace weir
