// weir: the command line. Exit codes: 0 done, 1 the operator's mistake, 2 the machine's.
#include <fcntl.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>

#include "ctrl/commands/backend_setup_command.h"
#include "ctrl/commands/check_command.h"
#include "ctrl/commands/explain_command.h"
#include "ctrl/commands/replay_command.h"
#include "ctrl/commands/run_command.h"
#include "ctrl/version.h"
#include "dataplane/ids.h"

namespace {

using namespace weir;

CLI::Option* add_config_option(CLI::App& command, std::string& file) {
    return command.add_option("-c,--config", file, "configuration file")->required()->type_name("FILE");
}

void add_replay_options(CLI::App& command, ReplayRequest& request) {
    add_config_option(command, request.config_file);
    command.add_option("--in", request.inputs, "capture that comes in on a port")
        ->type_name("PORT=FILE")
        ->required();
    command.add_option("--out", request.outputs, "capture to write of what leaves a port")
        ->type_name("PORT=FILE");
    command.add_option("--report", request.report_file, "counters and assumptions, as JSON")
        ->type_name("FILE");
    command
        .add_option("--down", request.down,
                    "backend that counts as dead, all the time or for a time after the first packet (5s-10m)")
        ->type_name("POOL/NAME[@FROM-TO]");
    command.add_option("--workers", request.workers, "simulated workers (default: the configuration's)")
        ->check(CLI::Range(1u, kMaxWorkers));
}

void add_explain_options(CLI::App& command, ExplainRequest& request) {
    add_config_option(command, request.config_file);
    command.add_option("--proto", request.protocol, "tcp or udp")
        ->required()
        ->check(CLI::IsMember({"tcp", "udp"}));
    command.add_option("--from", request.from, "the client")->required()->type_name("ADDRESS:PORT");
    command.add_option("--to", request.to, "the VIP")->required()->type_name("ADDRESS:PORT");
    command.add_option("--down", request.down, "backend that counts as dead")->type_name("POOL/NAME");
    command.add_flag("--json", request.json, "one JSON object");
}

void add_backend_setup_options(CLI::App& command, BackendSetupRequest& request) {
    add_config_option(command, request.config_file);
    command.add_option("backend", request.backend, "the backend")->required()->type_name("POOL/NAME");
    command.add_flag("--undo", request.undo, "the commands that take it back");
}

// A standard stream that the caller closed would be the number of the next file that weir opens: what weir
// says would go into a capture or into DPDK's memory.
void fill_standard_streams() {
    int file = 0;
    do {
        file = open("/dev/null", O_RDWR);
    } while (file >= 0 && file <= STDERR_FILENO);
    if (file > STDERR_FILENO) close(file);
}

int dispatch(int argc, char** argv) {
    CLI::App app{"weir: a layer-4 load balancer on DPDK", "weir"};
    app.set_version_flag("--version", version_text());
    app.require_subcommand(1);

    std::string config_file;
    ReplayRequest replay;
    ExplainRequest explain;
    BackendSetupRequest backend_setup;
    CLI::App* run_app = app.add_subcommand("run", "run the appliance; SIGHUP reloads, SIGTERM stops");
    add_config_option(*run_app, config_file);
    CLI::App* check_app = app.add_subcommand("check", "validate a configuration: every error as FILE:LINE");
    add_config_option(*check_app, config_file);
    CLI::App* replay_app =
        app.add_subcommand("replay", "captures through the production pipeline; no root, no NIC");
    add_replay_options(*replay_app, replay);
    CLI::App* explain_app = app.add_subcommand("explain", "which backend a flow gets, and why");
    add_explain_options(*explain_app, explain);
    CLI::App* backend_setup_app =
        app.add_subcommand("backend-setup", "prints the commands that make a server ready to be a backend");
    add_backend_setup_options(*backend_setup_app, backend_setup);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 1;
    }
    if (run_app->parsed()) return run_command(config_file);
    if (check_app->parsed()) return check_command(config_file);
    if (replay_app->parsed()) return replay_command(replay);
    if (backend_setup_app->parsed()) return backend_setup_command(backend_setup);
    return explain_command(explain);
}

}  // namespace

int main(int argc, char** argv) {
    fill_standard_streams();
    try {
        return dispatch(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "weir: %s\n", error.what());
        return 2;
    }
}
