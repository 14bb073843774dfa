#include "drivers/eal.h"

#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_pdump.h>
#include <rte_timer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>
#include <utility>

#include "drivers/hugepages.h"
#include "drivers/log_capture.h"
#include "drivers/worker_cpus.h"

namespace weir {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;

// rte_eal_init leaves threads and mappings behind even when it fails: a second try would build on them.
bool started = false;

std::uint64_t mebibytes(std::uint64_t bytes) { return (bytes + kMiB - 1) / kMiB; }

// Where EAL keeps the files of its instances (lib/eal/unix/eal_filesystem.c).
std::filesystem::path runtime_directory() {
    const char* systemd = std::getenv("RUNTIME_DIRECTORY");
    const char* session = std::getenv("XDG_RUNTIME_DIR");
    const char* base = "/tmp";
    if (systemd != nullptr) {
        base = systemd;
    } else if (getuid() == 0) {
        base = "/var/run";
    } else if (session != nullptr) {
        base = session;
    }
    return std::filesystem::path(base) / "dpdk";
}

std::optional<Error> check_cpus(const EalOptions& options) {
    const auto usable = usable_cpus();
    auto named = options.worker_cpus;
    named.push_back(options.control_cpu);
    for (const unsigned cpu : named)
        if (std::find(usable.begin(), usable.end(), cpu) == usable.end())
            return Error{"CPU " + std::to_string(cpu) +
                             " does not exist or this process may not use it: change dataplane.cpus or "
                             "dataplane.control_cpu, or widen the service's CPUAffinity",
                         Error::Cause::operator_mistake};
    // The main thread and the host thread are two more.
    if (options.worker_cpus.size() + 2 > RTE_MAX_LCORE)
        return Error{std::to_string(options.worker_cpus.size()) + " workers are more than DPDK's " +
                         std::to_string(RTE_MAX_LCORE - 2) + ": lower dataplane.workers",
                     Error::Cause::operator_mistake};
    return std::nullopt;
}

// A primary process holds a lock on its `config` file for as long as it lives.
bool prefix_is_taken(const std::string& file_prefix) {
    const auto path = runtime_directory() / file_prefix / "config";
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0) return false;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    const bool taken = fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(file);
    return taken;
}

std::optional<Error> check_hugepages(const EalOptions& options) {
    if (prefix_is_taken(options.file_prefix))
        return Error{options.program + " is already running (DPDK file prefix \"" + options.file_prefix +
                         "\"): stop it first, or run this one with dataplane.hugepages = false",
                     Error::Cause::operator_mistake};
    const Hugepages pages = look_at_hugepages(options.file_prefix);
    if (!pages.mounted)
        return Error{
            "no hugetlbfs is mounted, so DPDK cannot use hugepages: run `mkdir -p /dev/hugepages && mount -t "
            "hugetlbfs nodev /dev/hugepages`, or set dataplane.hugepages = false",
            Error::Cause::machine};
    if (!pages.writable)
        return Error{
            "this user may not make hugepage files in any hugetlbfs of /proc/mounts: run as root, `chown` it "
            "to "
            "the user, or set dataplane.hugepages = false",
            Error::Cause::machine};
    const std::uint64_t usable = pages.free_bytes + pages.stale_bytes;
    if (usable < options.memory)
        return Error{
            "dataplane.memory asks for " + std::to_string(mebibytes(options.memory)) +
                " MB of hugepages and " + std::to_string(usable / kMiB) + " MB are free: run `echo " +
                std::to_string((mebibytes(options.memory) + 1) / 2 + 64) +
                " > /proc/sys/vm/nr_hugepages`, lower dataplane.memory, or set dataplane.hugepages = false",
            Error::Cause::machine};
    std::error_code error;
    std::filesystem::create_directories(runtime_directory() / options.file_prefix, error);
    if (error || access((runtime_directory() / options.file_prefix).c_str(), W_OK) != 0)
        return Error{
            "DPDK keeps its files in " + (runtime_directory() / options.file_prefix).string() +
                ", which cannot be written: run as root, or set RUNTIME_DIRECTORY to a directory that can",
            Error::Cause::machine};
    return std::nullopt;
}

// Without hugepages the kernel promises any amount, and DPDK dies of it much later.
std::optional<Error> check_memory(const EalOptions& options) {
    const auto present = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                         static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    if (options.memory <= present) return std::nullopt;
    return Error{"dataplane.memory asks for " + std::to_string(mebibytes(options.memory)) +
                     " MB and this machine has " + std::to_string(present / kMiB) +
                     " MB: lower dataplane.memory",
                 Error::Cause::operator_mistake};
}

// DPDK keeps a file open for each hugepage, and crashes where it cannot open even a few. The soft limit of
// 1,024 is for programs that use select(), which weir does not. How many pages it takes depends on their
// size: only the rest can be demanded.
std::optional<Error> check_open_files() {
    constexpr rlim_t kNeeded = 128;
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max >= kNeeded) return std::nullopt;
    return Error{"this process may open " + std::to_string(limit.rlim_max) + " files and DPDK needs " +
                     std::to_string(kNeeded) + ": raise the limit (`ulimit -Hn`, systemd: LimitNOFILE=)",
                 Error::Cause::machine};
}

// Left in place they make the next start look as if it followed a crash. `config`, whose lock keeps other
// instances away until this process ends, goes last.
void remove_runtime_files(const std::string& file_prefix) {
    const auto directory = runtime_directory() / file_prefix;
    std::error_code ignored;
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
        if (entry.path().filename() != "config") files.push_back(entry.path());
    for (const auto& file : files) std::filesystem::remove(file, ignored);
    std::filesystem::remove(directory / "config", ignored);
    std::filesystem::remove(directory, ignored);
}

// "0@C,1@A,2@B,3@C": lcore 0 is the control core, lcore w + 1 is worker w, the last is the host thread's.
std::string lcore_map(const EalOptions& options) {
    std::ostringstream map;
    map << "0@" << options.control_cpu;
    for (std::size_t worker = 0; worker < options.worker_cpus.size(); ++worker)
        map << ',' << worker + 1 << '@' << options.worker_cpus[worker];
    if (options.host_thread) map << ',' << options.worker_cpus.size() + 1 << '@' << options.control_cpu;
    return map.str();
}

std::vector<std::string> eal_arguments(const EalOptions& options) {
    std::vector<std::string> arguments = {options.program,
                                          "--lcores=" + lcore_map(options),
                                          "-m",
                                          std::to_string(mebibytes(options.memory)),
                                          "--no-telemetry",
                                          "--log-level=warning",
                                          "--file-prefix=" + options.file_prefix};
    // --in-memory would be the obvious third one, but 22.11 refuses it together with --no-huge.
    if (!options.hugepages) arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
    if (options.pci_devices.empty()) arguments.push_back("--no-pci");
    for (const auto& device : options.pci_devices) arguments.insert(arguments.end(), {"-a", device});
    return arguments;
}

Error eal_error(const EalOptions& options, int code, const LogCapture& log) {
    if (code == ENOMEM)
        return {"DPDK could not get " + std::to_string(mebibytes(options.memory)) +
                    " MB of memory: lower dataplane.memory or free memory" + log.quote(),
                Error::Cause::machine};
    return {"DPDK did not start: " + std::string(rte_strerror(code)) + log.quote(), Error::Cause::machine};
}

}  // namespace

Result<Eal> Eal::start(const EalOptions& options) {
    if (started) return machine_error("DPDK was started before in this process and cannot be started again");
    if (auto error = check_cpus(options)) return tl::make_unexpected(*error);
    if (auto error = check_open_files()) return tl::make_unexpected(*error);
    if (!options.hugepages) {
        if (auto error = check_memory(options)) return tl::make_unexpected(*error);
    }
    if (options.hugepages) {
        if (auto error = check_hugepages(options)) return tl::make_unexpected(*error);
    }
    std::vector<std::string> arguments = eal_arguments(options);
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());

    started = true;
    const LogCapture log;
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
        const Error error = eal_error(options, rte_errno, log);
        if (options.hugepages && !prefix_is_taken(options.file_prefix))
            remove_hugepage_files(options.file_prefix);
        return tl::make_unexpected(error);
    }
    // For dpdk-dumpcap, which needs the shared memory of hugepages. Costs nothing until it attaches.
    if (options.hugepages) rte_pdump_init();
    return Eal(static_cast<unsigned>(options.worker_cpus.size()), log.text(),
               options.hugepages ? options.file_prefix : std::string());
}

Eal::Eal(Eal&& other) noexcept
    : running_(std::exchange(other.running_, false)),
      workers_(other.workers_),
      startup_log_(std::move(other.startup_log_)),
      file_prefix_(std::move(other.file_prefix_)) {}

Eal::~Eal() {
    if (!running_) return;
    if (!file_prefix_.empty()) rte_pdump_uninit();
    rte_eal_cleanup();
    if (file_prefix_.empty()) return;
    remove_hugepage_files(file_prefix_);
    remove_runtime_files(file_prefix_);
}

void Eal::manage_timers() noexcept { rte_timer_manage(); }

}  // namespace weir
