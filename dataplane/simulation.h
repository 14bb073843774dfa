// The production pipeline over captures: any number of workers, stepped on one thread, in the capture's own
// time.
//
// Theory of operation. The captures of all ports are merged by timestamp. Frames are collected into windows
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

#include "dataplane/pipeline.h"
#include "drivers/capture_reader.h"
#include "drivers/capture_writer.h"
#include "drivers/huge_memory.h"
#include "drivers/result.h"
#include "drivers/rss.h"

namespace weir {

// What stands in for a port's device. Either may be null: nothing comes in, or what goes out is counted and
// forgotten.
struct SimulatedPort {
    CaptureReader* in = nullptr;
    CaptureWriter* out = nullptr;
};

class Simulation {
  public:
    // `world` has one PortRecord for each of `ports` and must outlive the simulation. `prepare` is called for
    // every worker's counters before the first packet (to allocate the chunks that the world's ids need).
    static Result<std::unique_ptr<Simulation>> create(unsigned workers, std::uint64_t flows_per_worker,
                                                      std::vector<SimulatedPort> ports,
                                                      const ForwardingSnapshot& world);
    ~Simulation();

    // All frames of all captures, to the end. Fails if a capture cannot be read.
    Result<void> run();

    [[nodiscard]] std::vector<WorkerCounters*> counters() const;
    [[nodiscard]] std::uint64_t flow_capacity() const;

  private:
    class SimulatedWorker;
    struct Window;

    Simulation(unsigned workers, std::vector<SimulatedPort> ports, const ForwardingSnapshot& world);

    Result<void> read_heads();
    Result<void> take_frame(std::size_t port);
    void open_window(std::uint64_t now_ns);
    void run_window();

    const ForwardingSnapshot& world_;
    std::vector<SimulatedPort> ports_;
    RetaTable reta_;
    PuntLimits punt_limits_{1};
    rte_mempool* pool_ = nullptr;
    std::vector<std::unique_ptr<SimulatedWorker>> workers_;
    std::unique_ptr<Window> window_;
};

}  // namespace weir
