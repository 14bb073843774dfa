#include "drivers/worker_cpus.h"

#include <sched.h>

#include <algorithm>

namespace weir {

std::vector<unsigned> usable_cpus() {
    std::vector<unsigned> cpus;
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof(mask), &mask) != 0) return cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
    return cpus;
}

Result<WorkerCpus> choose_worker_cpus(unsigned workers, unsigned control_cpu, bool share_allowed) {
    return choose_worker_cpus(workers, control_cpu, share_allowed, usable_cpus());
}

Result<WorkerCpus> choose_worker_cpus(unsigned workers, unsigned control_cpu, bool share_allowed,
                                      const std::vector<unsigned>& usable) {
    if (std::find(usable.begin(), usable.end(), control_cpu) == usable.end())
        return operator_error("dataplane.control_cpu = " + std::to_string(control_cpu) +
                              ": this process may not use that CPU; choose one of `taskset -cp " +
                              "$$` or widen the service's CPUAffinity");
    if (workers > usable.size() && !share_allowed)
        return operator_error("dataplane.workers = " + std::to_string(workers) +
                              ", but this process may use only " + std::to_string(usable.size()) +
                              " CPUs, and workers that poll cannot share one; lower dataplane.workers to " +
                              std::to_string(usable.size()) + " or set dataplane.idle = \"sleep\"");
    std::vector<unsigned> order = usable;
    std::stable_partition(order.begin(), order.end(), [&](unsigned cpu) { return cpu != control_cpu; });

    WorkerCpus choice;
    for (unsigned worker = 0; worker < workers; ++worker) choice.cpus.push_back(order[worker % order.size()]);
    if (workers > order.size())
        choice.notes.push_back(std::to_string(workers) + " workers share " + std::to_string(order.size()) +
                               " CPUs: more workers than CPUs forward no faster");
    if (workers >= order.size() && workers > 0)
        choice.notes.push_back("a worker shares CPU " + std::to_string(control_cpu) +
                               " with the control core: under load, probes and metrics wait for it");
    return choice;
}

}  // namespace weir
