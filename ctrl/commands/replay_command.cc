#include "ctrl/commands/replay_command.h"

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "ctrl/config/devices.h"
#include "ctrl/offline_world.h"
#include "ctrl/replay_report.h"
#include "ctrl/table_sizes.h"
#include "dataplane/simulation.h"
#include "drivers/eal.h"
#include "drivers/worker_cpus.h"

namespace weir {

namespace {

// The captures that stand in for one device: the frames of all its ports, tagged where those are VLANs.
struct DeviceCaptures {
    std::optional<CaptureReader> in;
    std::optional<CaptureWriter> out;
};

struct DeviceFile {
    std::size_t device;  // index of devices_of()
    std::string file;
};

std::size_t device_index(const Config& config, std::size_t port) {
    const std::vector<DeviceConfig> devices = devices_of(config);
    return static_cast<std::size_t>(&device_of(devices, port) - devices.data());
}

// Any of a device's ports names it.
Result<DeviceFile> parse_port_file(const Config& config, const std::string& option, const std::string& text) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals + 1 == text.size())
        return operator_error(fmt::format("{} {}: write PORT=FILE", option, text));
    std::string known;
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        if (config.ports[i].name == text.substr(0, equals))
            return DeviceFile{device_index(config, i), text.substr(equals + 1)};
        known += (i == 0 ? "" : ", ") + config.ports[i].name;
    }
    return operator_error(
        fmt::format("{} {}: {} has no such port; it has: {}", option, text, config.file, known));
}

// What a replay reads must not be what it writes, and it must not write one file twice.
Result<void> check_outputs(const ReplayRequest& request) {
    std::vector<std::pair<std::string, std::string>> used = {{request.config_file, "the configuration"}};
    const auto named = [](const std::string& text) { return text.substr(text.find('=') + 1); };
    for (const std::string& text : request.inputs) used.emplace_back(named(text), "--in " + text);
    std::vector<std::pair<std::string, std::string>> written;
    for (const std::string& text : request.outputs) written.emplace_back(named(text), "--out " + text);
    if (!request.report_file.empty())
        written.emplace_back(request.report_file, "--report " + request.report_file);
    for (const auto& [file, option] : written) {
        if (file == "-") return operator_error(option + ": write a file's name; stdout has the summary");
        for (const auto& [other, name] : used) {
            std::error_code absent;
            const bool device = std::filesystem::is_character_file(file, absent);
            const bool same = std::filesystem::equivalent(file, other, absent) || file == other;
            if (same && !device)
                return operator_error(fmt::format("{}: the same file as {}: name another one", option, name));
        }
        used.emplace_back(file, option);
    }
    return {};
}

// What stands behind "has a capture already".
std::string ports_of(const Config& config, std::size_t device) {
    const std::vector<std::size_t> ports = devices_of(config)[device].ports;
    if (ports.size() == 1) return "the port";
    std::string names;
    for (const std::size_t port : ports) names += (names.empty() ? "" : ", ") + config.ports[port].name;
    return fmt::format("the device of ports {}, one for all its VLANs,", names);
}

Result<void> open_captures(const Config& config, const ReplayRequest& request,
                           std::vector<DeviceCaptures>& captures) {
    for (const std::string& text : request.inputs) {
        const auto named = parse_port_file(config, "--in", text);
        if (!named) return tl::make_unexpected(named.error());
        if (captures[named->device].in)
            return operator_error(
                fmt::format("--in {}: {} has a capture already", text, ports_of(config, named->device)));
        auto reader = CaptureReader::open(named->file);
        if (!reader) return tl::make_unexpected(reader.error());
        captures[named->device].in.emplace(std::move(*reader));
    }
    if (auto checked = check_outputs(request); !checked) return checked;
    for (const std::string& text : request.outputs) {
        const auto named = parse_port_file(config, "--out", text);
        if (!named) return tl::make_unexpected(named.error());
        if (captures[named->device].out)
            return operator_error(
                fmt::format("--out {}: {} has a capture already", text, ports_of(config, named->device)));
        auto writer = CaptureWriter::create(named->file);
        if (!writer) return tl::make_unexpected(writer.error());
        captures[named->device].out.emplace(std::move(*writer));
    }
    return {};
}

Result<void> close_captures(std::vector<DeviceCaptures>& captures) {
    for (DeviceCaptures& device : captures) {
        if (!device.out) continue;
        if (auto closed = device.out->close(); !closed) return closed;
    }
    return {};
}

std::vector<SimulatedDevice> simulated_devices(const Config& config, std::vector<DeviceCaptures>& captures) {
    std::vector<SimulatedDevice> simulated;
    for (const DeviceConfig& device : devices_of(config)) {
        DeviceCaptures& of = captures[simulated.size()];
        simulated.push_back({of.in ? &*of.in : nullptr, of.out ? &*of.out : nullptr, {}});
        for (const std::size_t port : device.ports)
            simulated.back().ports.add(static_cast<PortId>(port), config.ports[port].vlan);
    }
    return simulated;
}

std::vector<TimedWorld> timed_worlds(const OfflineWorld& world) {
    std::vector<TimedWorld> worlds;
    for (const OfflineWorld::Stage& stage : world.stages)
        worlds.push_back(
            {static_cast<std::uint64_t>(std::chrono::nanoseconds(stage.from).count()), stage.snapshot.get()});
    return worlds;
}

void print_summary(const nlohmann::ordered_json& report) {
    fmt::print("received {}, forwarded {}, answered {}, punted {}, unaccounted {}\n",
               report["received"].dump(), report["forwarded"].dump(), report["answered"].dump(),
               report["punted"].dump(), report["unaccounted"].dump());
    for (const auto& [reason, n] : report["dropped"].items())
        if (n != 0) fmt::print("dropped {} {}\n", reason, n.dump());
    for (const auto& backend : report["backends"])
        fmt::print("backend {}/{}: {} packets, {} new flows\n", backend["pool"].get<std::string>(),
                   backend["name"].get<std::string>(), backend["packets"].dump(),
                   backend["new_flows"].dump());
    for (const auto& sentence : report["assumptions"]) fmt::print("note: {}\n", sentence.get<std::string>());
}

// Before the packets run: a mistake in the name must not cost a long replay.
Result<std::ofstream> open_report(const std::string& file) {
    std::ofstream out;
    if (file.empty()) return out;
    out.open(file);
    if (!out) return operator_error(fmt::format("--report {}: {}", file, std::strerror(errno)));
    return out;
}

Result<void> write_report(const nlohmann::ordered_json& report, const std::string& file, std::ofstream& out) {
    if (file.empty()) return {};
    out << report.dump(2) << '\n';
    out.close();
    if (!out) return machine_error(file + ": the report is not complete: is the disk full?");
    return {};
}

Result<Eal> start_eal() {
    EalOptions options;
    options.program = "weir-replay";
    options.control_cpu = usable_cpus().front();
    options.hugepages = false;
    options.memory = 64u << 20;
    return Eal::start(options);
}

// A replay that does not add up is a bug of weir's, and must not look like a success.
Result<void> check_accounting(const nlohmann::ordered_json& report) {
    if (report["unaccounted"] == 0) return {};
    return machine_error(
        "received is not forwarded + answered + punted + dropped: a bug in weir, please report it");
}

Result<void> replay(const ReplayRequest& request) {
    auto world = make_offline_world(request.config_file, request.down, request.workers);
    if (!world) return tl::make_unexpected(world.error());
    const Config& config = (*world)->config;
    std::vector<DeviceCaptures> captures(devices_of(config).size());
    if (auto opened = open_captures(config, request, captures); !opened) return opened;
    auto report_file = open_report(request.report_file);
    if (!report_file) return tl::make_unexpected(report_file.error());
    const auto eal = start_eal();
    if (!eal) return tl::make_unexpected(eal.error());

    auto simulation = Simulation::create(config.dataplane.workers, table_sizes(config),
                                         simulated_devices(config, captures), timed_worlds(**world));
    if (!simulation) return tl::make_unexpected(simulation.error());
    const std::vector<WorkerCounters*> counters = (*simulation)->counters();
    for (WorkerCounters* worker : counters) {
        worker->services.ensure((*world)->ids.service_ids());
        worker->backends.ensure((*world)->ids.backend_ids());
    }
    if (auto ran = (*simulation)->run(); !ran) return ran;
    if (auto closed = close_captures(captures); !closed) return closed;

    (*world)->stage = (*simulation)->present_world();
    const auto report = make_replay_report(**world, counters);
    print_summary(report);
    if (auto written = write_report(report, request.report_file, *report_file); !written) return written;
    return check_accounting(report);
}

}  // namespace

int replay_command(const ReplayRequest& request) {
    const auto done = replay(request);
    if (done) return 0;
    fmt::print(stderr, "{}\n", done.error().message);
    return static_cast<int>(done.error().cause);
}

}  // namespace weir
