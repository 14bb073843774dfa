// Which CPU each worker runs on. Start-up only; any thread.
#pragma once

#include <string>
#include <vector>

#include "drivers/result.h"

namespace weir {

struct WorkerCpus {
    std::vector<unsigned> cpus;      // worker w runs on cpus[w]
    std::vector<std::string> notes;  // sentences about sharing, for the operator
};

// The CPUs that this process may use (its affinity mask: taskset, systemd's CPUAffinity, a container),
// ascending.
// Ask before Eal::start: it pins the main thread to the control CPU.
[[nodiscard]] std::vector<unsigned> usable_cpus();

// One CPU per worker, the control CPU last of all. With fewer CPUs than workers: an error, unless sharing is
// allowed (workers that sleep when idle); then workers take turns over the CPUs.
[[nodiscard]] Result<WorkerCpus> choose_worker_cpus(unsigned workers, unsigned control_cpu,
                                                    bool share_allowed);
[[nodiscard]] Result<WorkerCpus> choose_worker_cpus(unsigned workers, unsigned control_cpu,
                                                    bool share_allowed, const std::vector<unsigned>& usable);

}  // namespace weir
