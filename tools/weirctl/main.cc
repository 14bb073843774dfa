// weirctl: the running weir's command line, over its control socket. Exit codes: 0 done, 1 the operator's
// mistake, 2 the machine's.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "ctrl/api/explanation_text.h"
#include "tools/weirctl/batch.h"
#include "tools/weirctl/client.h"
#include "tools/weirctl/print_answer.h"

namespace {

using namespace weir;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFooter =
    "Without --json answers are for people and may change from version to version; with it they are\n"
    "what weir said. A change returns once it is in force in every worker and durable.\n"
    "Exit codes: 0 done, 1 your mistake (said in one line, with what to do), 2 the machine's.";

// What was typed.
struct Typed {
    std::string socket = "/run/weir/control.sock";
    bool json = false;
    std::string what;                  // show
    std::string pool, name, endpoint;  // backend
    Change change;
    std::string batch_file = "-", file;
    bool dry_run = false;
    std::string protocol, from, to;  // explain
};

int fail(const Error& error) {
    std::string_view rest = error.message;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        fmt::print(stderr, "weirctl: {}\n", line);
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    }
    return static_cast<int>(error.cause);
}

// Asks, and prints the answer with `text` unless JSON is wanted.
template <class Text>
int ask(const Typed& typed, const Request& request, Text text) {
    auto client = ControlClient::connect(typed.socket);
    if (!client) return fail(client.error());
    const auto answer = client->ask(request);
    if (!answer) return fail(answer.error());
    fmt::print("{}", typed.json ? answer->dump(2) + '\n' : text(*answer));
    return 0;
}

int ask_changes(const Typed& typed, const std::vector<Change>& changes) {
    json list = json::array();
    for (const Change& change : changes) list.push_back(to_json(change));
    return ask(typed, {"change", {{"changes", list}}}, changed_text);
}

int change_one(Typed typed, Change::Kind kind) {
    Change& change = typed.change;
    change.kind = kind;
    change.key = {typed.pool, typed.name};
    if (kind == Change::Kind::add)
        if (auto read = read_endpoint(typed.endpoint, change); !read) return fail(read.error());
    return ask_changes(typed, {change});
}

int change_many(const Typed& typed) {
    std::ifstream file;
    if (typed.batch_file != "-") {
        file.open(typed.batch_file);
        if (!file) return fail({fmt::format("{}: cannot be read", typed.batch_file)});
    }
    const auto changes = read_batch(typed.batch_file == "-" ? std::cin : file);
    if (!changes) return fail(changes.error());
    if (changes->empty()) return fail({"there is no change in it"});
    return ask_changes(typed, *changes);
}

void add_backend_commands(CLI::App& app, Typed& typed, int& code) {
    CLI::App* backend = app.add_subcommand("backend", "registers and deregisters backends, or changes them");
    backend->require_subcommand(1);
    const auto command = [&](const char* name, const char* help, Change::Kind kind) {
        CLI::App* made = backend->add_subcommand(name, help);
        made->add_option("pool", typed.pool, "the pool")->required()->type_name("POOL");
        made->add_option("name", typed.name, "the backend")->required()->type_name("NAME");
        made->final_callback([&typed, &code, kind] { code = change_one(typed, kind); });
        return made;
    };
    CLI::App* add = command("add", "registers a backend", Change::Kind::add);
    add->add_option("address", typed.endpoint, "where it is")->required()->type_name("ADDRESS[:PORT]");
    add->add_option("--weight", typed.change.weight, "its share, 0 to 1000")
        ->type_name("N")
        ->check(CLI::Range(0, 1000));
    add->add_option("--zone", typed.change.zone, "where it stands")->type_name("Z");
    command("remove", "deregisters it: no new flows, known ones go on", Change::Kind::remove)
        ->add_flag("--now", typed.change.now, "known flows are cut too: not one packet after the answer");
    command("drain", "takes it out of service as if removed, and keeps it registered", Change::Kind::drain);
    command("enable", "puts it back into service", Change::Kind::enable);
    command("weight", "sets its share of new flows", Change::Kind::weight)
        ->add_option("weight", typed.change.weight, "0 (no new flows) to 1000")
        ->required()
        ->type_name("N")
        ->check(CLI::Range(0, 1000));
    CLI::App* batch = app.add_subcommand("batch", "changes from lines, all in force at once or none");
    batch
        ->add_option("file", typed.batch_file,
                     "lines as after `weirctl backend`: add POOL NAME ADDRESS[:PORT] "
                     "[weight N] [zone Z], remove POOL NAME [now], drain, enable, "
                     "weight POOL NAME N; - is standard input")
        ->type_name("FILE");
    batch->final_callback([&typed, &code] { code = change_many(typed); });
}

void add_config_commands(CLI::App& app, Typed& typed, int& code) {
    CLI::App* reload = app.add_subcommand("reload", "the configuration file again; says what changed");
    reload->add_flag("--dry-run", typed.dry_run, "say what would change, and change nothing");
    reload->final_callback([&typed, &code] {
        code = ask(typed, {"reload", {{"dry_run", typed.dry_run}}},
                   [&](const ordered_json& answer) { return reloaded_text(answer, !typed.dry_run); });
    });
    CLI::App* check = app.add_subcommand("check", "validates a configuration, and says what it would change");
    check->add_option("file", typed.file, "configuration file")->required()->type_name("FILE");
    check->final_callback([&typed, &code] {
        code = ask(typed, {"check", {{"file", std::filesystem::absolute(typed.file).string()}}},
                   [](const ordered_json& answer) { return reloaded_text(answer, false); });
    });
}

void add_questions(CLI::App& app, Typed& typed, int& code) {
    CLI::App* show = app.add_subcommand("show", "what is in force, and what it counts");
    show->add_option("what", typed.what, "what to show")
        ->required()
        ->check(CLI::IsMember({"services", "pools", "backends", "flows", "workers", "ports", "drops"}));
    show->final_callback([&typed, &code] {
        code = ask(typed, {"show", {{"what", typed.what}}},
                   [&](const ordered_json& answer) { return shown_text(typed.what, answer); });
    });
    CLI::App* explain = app.add_subcommand("explain", "which backend a new flow gets now, and why");
    explain->add_option("--proto", typed.protocol, "tcp or udp")
        ->required()
        ->check(CLI::IsMember({"tcp", "udp"}));
    explain->add_option("--from", typed.from, "the client")->required()->type_name("ADDRESS:PORT");
    explain->add_option("--to", typed.to, "the VIP")->required()->type_name("ADDRESS:PORT");
    explain->final_callback([&typed, &code] {
        const std::string flow = fmt::format("{} {} -> {}", typed.protocol, typed.from, typed.to);
        code = ask(typed, {"explain", {{"protocol", typed.protocol}, {"from", typed.from}, {"to", typed.to}}},
                   [&](const ordered_json& answer) { return explanation_text(flow, answer); });
    });
    app.add_subcommand("version", "of weir and of weirctl")->final_callback([&typed, &code] {
        code = ask(typed, {"version"}, [](const ordered_json& answer) {
            return fmt::format("weir {} ({}), weirctl {}\n", answer.value("version", "?"),
                               answer.value("dpdk", "?"), WEIR_VERSION);
        });
    });
}

int dispatch(int argc, char** argv) {
    Typed typed;
    int code = 0;
    CLI::App app{"weirctl: asks and changes a running weir", "weirctl"};
    app.footer(kFooter);
    app.fallthrough();
    app.require_subcommand(1);
    app.add_option("--socket", typed.socket, "weir's control.socket")
        ->type_name("PATH")
        ->capture_default_str();
    app.add_flag("--json", typed.json, "what weir said, as JSON");
    add_questions(app, typed, code);
    add_backend_commands(app, typed, code);
    add_config_commands(app, typed, code);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 1;
    }
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return dispatch(argc, argv);
    } catch (const std::exception& error) {
        fmt::print(stderr, "weirctl: {}\n", error.what());
        return 2;
    }
}
