// The production pipeline over captures: any number of workers, stepped on one thread, in the capture's own
// time.
//
// Theory of operation. The captures of all devices are merged by timestamp. Frames are collected into windows
// of at most 1 ms of capture time; a frame goes to the worker whose queue a NIC with RSS would have chosen
// (software Toeplitz, drivers/ rss.h). At the end of a window the workers run one after the other, each over
// its own frames in bursts, all with the window's time; then everything sent in that window is written out in
// the order in which its packet arrived. What is punted is counted and vanishes; the workers share one set of
// limits, so that as many packets pass whichever worker has them. So two runs are byte-identical, and as no
// decision depends on how packets are spread over workers, neither does the output.
//
// One thread. EAL is initialised; no device is needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/device_ports.h"
#include "dataplane/pipeline.h"
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

class Simulation {
  public:
    // Each PortRecord of `world` is on one of the `devices`. `world` must outlive the simulation; before
    // run() the counters of every worker need what its ids need.
    static Result<std::unique_ptr<Simulation>> create(unsigned workers, std::uint64_t flows_per_worker,
                                                      std::vector<SimulatedDevice> devices,
                                                      const ForwardingSnapshot& world);
    ~Simulation();

    // All frames of all captures, to the end. Fails if a capture cannot be read.
    Result<void> run();

    [[nodiscard]] std::vector<WorkerCounters*> counters() const;
    [[nodiscard]] std::uint64_t flow_capacity() const;

  private:
    class SimulatedWorker;
    struct Window;

    Simulation(unsigned workers, std::vector<SimulatedDevice> devices, const ForwardingSnapshot& world);

    Result<void> read_heads();
    Result<void> take_frame(std::size_t device);
    void open_window(std::uint64_t now_ns);
    void run_window();

    const ForwardingSnapshot& world_;
    std::vector<SimulatedDevice> devices_;
    RetaTable reta_;
    PuntLimits punt_limits_{1};
    rte_mempool* pool_ = nullptr;
    std::vector<std::unique_ptr<SimulatedWorker>> workers_;
    std::unique_ptr<Window> window_;
};

}  // namespace weir
