#include "ctrl/appliance.h"

#include <fmt/format.h>
#include <rte_launch.h>
#include <sys/random.h>

#include <cstring>

#include "drivers/device_name.h"
#include "drivers/worker_cpus.h"

namespace weir {

namespace {

// What follows a start-up step that went wrong.
tl::unexpected<Error> failed(const Result<void>& step) { return tl::make_unexpected(step.error()); }

// PCI devices that EAL has to take from the machine; everything else is plugged in later.
std::vector<std::string> pci_devices(const Config& config) {
    std::vector<std::string> devices;
    for (const PortConfig& port : config.ports) {
        const auto device = parse_device(port.device, 1, port.mtu);
        if (device && device->bus == DeviceName::Bus::pci) devices.push_back(device->text());
    }
    return devices;
}

std::uint32_t frames_held_by_devices(const Config& config) {
    std::uint32_t frames = 0;
    for (const PortConfig& port : config.ports)
        if (const auto device = parse_device(port.device, 1, port.mtu)) frames += held_frames(*device);
    return frames;
}

PortSpec spec_of(const PortConfig& port, std::size_t index, unsigned workers) {
    PortSpec spec;
    spec.index = static_cast<unsigned>(index);
    spec.name = port.name;
    spec.device = port.device;
    if (port.mac) spec.mac = port.mac->bytes;
    spec.mtu = port.mtu;
    spec.queues = static_cast<std::uint16_t>(workers);
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
    PoolDemand demand;
    demand.ports = static_cast<std::uint32_t>(config.ports.size());
    demand.workers = static_cast<std::uint32_t>(worker_cpus_.size());
    demand.held_by_devices = frames_held_by_devices(config);
    pools_ = std::make_unique<MbufPools>(demand);
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        auto port = Port::open(spec_of(config.ports[i], i, demand.workers), *pools_);
        if (!port) return tl::make_unexpected(port.error());
        for (const std::string& note : port->notes()) notify(Severity::warning, note);
        ports_.push_back(std::move(*port));
    }
    return {};
}

Result<void> Appliance::make_world(const Config& config, const HashKey& selection_key, Notify notify) {
    for (std::size_t w = 0; w < worker_cpus_.size(); ++w) {
        counters_.push_back(std::make_unique<WorkerCounters>());
        counter_pointers_.push_back(counters_.back().get());
    }
    WorldOptions options;
    options.selection_key = selection_key;
    options.worker_cpus = worker_cpus_;
    options.notify = std::move(notify);
    for (const Port& port : ports_)
        options.ports.push_back(
            {.mac = MacAddress{port.mac()}, .mtu = port.mtu(), .can_send_chains = port.can_send_chains()});
    world_ = std::make_unique<World>(std::move(options), counter_pointers_);
    const auto applied = world_->apply(config);
    if (!applied) return tl::make_unexpected(applied.error());
    return {};
}

Result<void> Appliance::launch_workers(const Config& config) {
    const std::size_t flow_bytes = FlowTable::bytes_for(config.dataplane.flows_per_worker);
    for (std::uint32_t w = 0; w < worker_cpus_.size(); ++w) {
        auto memory = HugeMemory::allocate(flow_bytes, config.dataplane.hugepages);
        if (!memory) return tl::make_unexpected(memory.error());
        if (config.dataplane.hugepages && memory->kind() != HugeMemory::Kind::hugepages)
            world_->notify(Severity::warning, fmt::format("worker {}: no {} MB of reserved hugepages left "
                                                          "for its flow table; ordinary memory serves, "
                                                          "with more TLB misses",
                                                          w, (flow_bytes >> 20) + 1));
        const auto key = random_key();
        if (!key) return tl::make_unexpected(key.error());
        flow_memory_.push_back(std::move(*memory));
        WorkerSpec spec{.id = w,
                        .queues = {},
                        .flow_memory = flow_memory_.back().bytes().first(flow_bytes),
                        .flow_hash_key = *key,
                        .counters = counter_pointers_[w],
                        .sleeps_when_idle = config.dataplane.idle == IdleMode::sleep};
        for (Port& port : ports_) {
            const auto queue = static_cast<std::uint16_t>(w);
            spec.queues.push_back({port.rx_queue(queue), port.tx_queue(queue)});
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

Result<std::unique_ptr<Appliance>> Appliance::start(const Config& config, const HashKey& selection_key,
                                                    Notify notify) {
    std::unique_ptr<Appliance> appliance(new Appliance);
    if (auto step = appliance->start_eal(config, notify); !step) return failed(step);
    if (auto step = appliance->open_ports(config, notify); !step) return failed(step);
    if (auto step = appliance->make_world(config, selection_key, notify); !step) return failed(step);
    if (auto step = appliance->launch_workers(config); !step) return failed(step);
    appliance->keep_ports();
    return appliance;
}

Appliance::~Appliance() {
    for (const auto& worker : workers_) worker->stop();
    for (unsigned w = 0; w < workers_.size(); ++w) rte_eal_wait_lcore(Eal::lcore(w));
}

}  // namespace weir
