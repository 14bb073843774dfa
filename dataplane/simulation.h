// The production pipeline over captures: any number of workers, stepped on one thread, in the capture's own
// time.
//
// Theory of operation. The captures of all devices are merged by timestamp. Frames are collected into windows
// of at most 1 ms of capture time; a frame goes to the worker whose queue a NIC with RSS would have chosen
// (software Toeplitz, drivers/ rss.h). At the end of a window the workers run one after the other, each over
// its own frames in bursts, all with the window's time, and after each burst the rings between them until
// they are empty; then everything sent in that window is written out in the order in which its packet
// arrived. What is punted is counted and vanishes; the workers share one set of limits, so that as many
// packets pass whichever worker has them. So two runs are byte-identical, and as no decision depends on how
// packets are spread over workers, neither does the output.
//
// The world may change in the course of a capture: at the first frame that is due, which begins a window.
// All tables are swept then, as a worker's are within seconds of a capture's time.
//
// One thread. EAL is initialised; no device is needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/device_ports.h"
#include "dataplane/pipeline.h"
#include "dataplane/table_memory.h"
#include "dataplane/worker_rings.h"
#include "drivers/capture_reader.h"
#include "drivers/capture_writer.h"
#include "drivers/huge_memory.h"
#include "drivers/result.h"
#include "drivers/rss.h"

namespace weir {

// What stands in for a device. Either capture may be null: nothing comes in, or what goes out is counted and
// forgotten. Both hold the frames of all its ports, tagged where a port is a VLAN.
struct SimulatedDevice {
    CaptureReader* in = nullptr;
    CaptureWriter* out = nullptr;
    DevicePorts ports;
};

// Holds from that time after the captures' first frame on.
struct TimedWorld {
    std::uint64_t from_ns;
    const ForwardingSnapshot* world;
};

class Simulation {
  public:
    // `worlds` in the order of their times, the first from 0 on. Each PortRecord of a world is on one of the
    // `devices`. The worlds must outlive the simulation; before run() the counters of every worker need what
    // their ids need.
    static Result<std::unique_ptr<Simulation>> create(unsigned workers, const TableSizes& sizes,
                                                      std::vector<SimulatedDevice> devices,
                                                      std::vector<TimedWorld> worlds);
    ~Simulation();

    // All frames of all captures, to the end. Fails if a capture cannot be read.
    Result<void> run();

    [[nodiscard]] std::vector<WorkerCounters*> counters() const;
    [[nodiscard]] std::uint64_t flow_capacity() const;
    // Index of the world that holds by now.
    [[nodiscard]] std::size_t present_world() const noexcept { return present_; }

  private:
    class SimulatedWorker;
    struct Window;

    Simulation(unsigned workers, std::vector<SimulatedDevice> devices, std::vector<TimedWorld> worlds);

    Result<void> read_heads();
    Result<void> take_frame(std::size_t device);
    [[nodiscard]] bool changes_by(std::uint64_t now_ns) const noexcept;
    void open_window(std::uint64_t now_ns);
    void run_window();
    void empty_rings(Tick now);
    [[nodiscard]] const ForwardingSnapshot& world() const noexcept { return *worlds_[present_].world; }

    std::vector<TimedWorld> worlds_;
    std::size_t present_ = 0;
    std::vector<SimulatedDevice> devices_;
    RetaTable reta_;
    PuntLimits punt_limits_{1};
    rte_mempool* pool_ = nullptr;
    std::unique_ptr<WorkerRings> rings_;
    std::vector<std::unique_ptr<SimulatedWorker>> workers_;
    std::unique_ptr<Window> window_;
};

}  // namespace weir
