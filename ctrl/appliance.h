// The appliance, put together: EAL, ports, the kernel's side, workers and the world that they read. What
// `weir run` runs.
//
// start() opens the devices, compiles and publishes the first snapshot and launches one worker per CPU; the
// destructor undoes all of it in reverse. Main thread, which must be the one that handles control events
// afterwards.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/host_side.h"
#include "ctrl/kernel/kernel_view.h"
#include "ctrl/notify.h"
#include "ctrl/port_keeper.h"
#include "ctrl/world.h"
#include "dataplane/worker.h"
#include "drivers/eal.h"
#include "drivers/huge_memory.h"
#include "drivers/port.h"
#include "drivers/result.h"

namespace weir {

class Appliance {
  public:
    // Precondition: validate_config accepted the configuration. An error leaves nothing behind. `assigned`:
    // WorldOptions'.
    static Result<std::unique_ptr<Appliance>> start(const Config& config, const HashKey& selection_key,
                                                    Notify notify,
                                                    std::function<void(World&, const ConfigDelta&)> assigned);

    // Stops the workers, then closes the ports. What workers have received by then is sent; what comes later
    // stays in the devices.
    ~Appliance();
    Appliance(const Appliance&) = delete;
    Appliance& operator=(const Appliance&) = delete;

    [[nodiscard]] World& world() noexcept { return *world_; }
    [[nodiscard]] HostSide& host_side() noexcept { return *host_side_; }
    // Null if no port has a host interface.
    [[nodiscard]] KernelView* kernel() noexcept { return kernel_.get(); }
    [[nodiscard]] ProbePorts& probe_ports() noexcept { return probe_ports_; }
    [[nodiscard]] PortKeeper& port_keeper() noexcept { return *port_keeper_; }
    [[nodiscard]] std::span<Port> ports() noexcept { return ports_; }
    [[nodiscard]] std::span<const Port> ports() const noexcept { return ports_; }
    [[nodiscard]] std::span<WorkerCounters* const> counters() const noexcept { return counter_pointers_; }
    [[nodiscard]] std::uint64_t flow_capacity() const noexcept { return workers_.front()->flow_capacity(); }
    [[nodiscard]] std::uint64_t session_capacity() const noexcept {
        return workers_.front()->session_capacity();
    }
    [[nodiscard]] std::uint64_t sticky_capacity() const noexcept {
        return workers_.front()->sticky_capacity();
    }

  private:
    Appliance() = default;
    Result<void> start_eal(const Config& config, Notify& notify);
    Result<void> open_ports(const Config& config, const Notify& notify);
    Result<void> open_kernel(const Config& config, const Notify& notify);
    Result<void> make_world(const Config& config, WorldOptions options);
    Result<void> link_workers();
    Result<void> launch_workers(const Config& config);
    void keep_ports();

    // In the order of their making; destroyed in reverse.
    std::vector<unsigned> worker_cpus_;
    std::unique_ptr<Eal> eal_;
    std::unique_ptr<MbufPools> pools_;
    std::vector<Port> ports_;
    std::unique_ptr<HostSide> host_side_;
    std::vector<HugeMemory> table_memory_;  // by worker
    std::vector<std::unique_ptr<WorkerCounters>> counters_;
    std::vector<WorkerCounters*> counter_pointers_;
    std::unique_ptr<KernelView> kernel_;
    std::unique_ptr<World> world_;
    std::unique_ptr<HostFlows> host_flows_;
    ProbePorts probe_ports_;
    std::unique_ptr<WorkerRings> worker_rings_;  // null: one worker
    std::vector<std::unique_ptr<Worker>> workers_;
    std::unique_ptr<PortKeeper> port_keeper_;
};

}  // namespace weir
