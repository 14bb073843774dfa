// DPDK's environment (EAL) as an object: hugepages, lcores and device drivers of this process. One per
// process and only once: DPDK cannot be started a second time. Start it before any other object of drivers/,
// destroy it last. Main thread only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "drivers/result.h"

namespace weir {

struct EalOptions {
    std::string program = "weir";
    // The main thread and DPDK's own threads run here. Do not keep it busy to 100 %: a device's events come
    // in on it.
    unsigned control_cpu = 0;
    // Worker w is lcore w + 1 and runs on worker_cpus[w]. Several workers may name the same CPU.
    std::vector<unsigned> worker_cpus;
    // One more lcore, for the host thread (host_thread.h), on the control CPU.
    bool host_thread = false;
    // true: memory in hugepages, shared under `file_prefix`, so that dpdk-dumpcap can attach.
    // false: ordinary private memory; needs no privilege and leaves nothing behind.
    bool hugepages = true;
    std::uint64_t memory = 1ull << 30;  // bytes, rounded up to MiB
    // PCI devices to take from the machine, with their arguments ("0000:00:06.0,large_llq_hdr=1"); all others
    // are left alone. Empty: the PCI bus is not looked at.
    std::vector<std::string> pci_devices;
    // Names the files of this instance; two instances on one machine need two.
    std::string file_prefix = "weir";
};

class Eal {
  public:
    // Checks what it can beforehand (CPUs, hugepages, a second instance), so that an error says what to
    // change.
    static Result<Eal> start(const EalOptions& options);

    Eal(Eal&& other) noexcept;
    Eal& operator=(Eal&&) = delete;
    // Every port, pool and ring must be gone, and every worker must have returned.
    ~Eal();

    [[nodiscard]] unsigned workers() const noexcept { return workers_; }
    // The lcore of a worker, for rte_eal_remote_launch. Precondition: worker < workers().
    [[nodiscard]] static unsigned lcore(unsigned worker) noexcept { return worker + 1; }
    // The host thread's. Precondition: EalOptions::host_thread.
    [[nodiscard]] unsigned host_lcore() const noexcept { return workers_ + 1; }
    // Runs the timers that drivers have armed on the main lcore: without it ENA's watchdog never notices a
    // dead device. Main thread, once a second or more often.
    static void manage_timers() noexcept;
    // What DPDK said at warning level and above while it started; empty if nothing.
    [[nodiscard]] const std::string& startup_log() const noexcept { return startup_log_; }

  private:
    Eal(unsigned workers, std::string startup_log, std::string file_prefix) noexcept
        : workers_(workers), startup_log_(std::move(startup_log)), file_prefix_(std::move(file_prefix)) {}

    bool running_ = true;
    unsigned workers_;
    std::string startup_log_;
    std::string file_prefix_;  // empty: no hugepages
};

}  // namespace weir
