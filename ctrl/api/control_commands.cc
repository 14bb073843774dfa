#include "ctrl/api/control_commands.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "ctrl/api/explain_json.h"
#include "ctrl/changes/json_reader.h"
#include "ctrl/config/diff_config.h"
#include "ctrl/explain.h"
#include "ctrl/version.h"
#include "dataplane/tick_clock.h"

namespace weir {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Answer = Result<ordered_json>;

Result<std::vector<Change>> read_changes(const json& arguments) {
    const JsonReader reader(arguments, "change");
    reader.allow({"changes"});
    const json* list = reader.find("changes");
    if (list == nullptr || !list->is_array() || list->empty())
        reader.fail("needs changes, a list of at least one");
    if (list->size() > kMaxChanges)
        reader.fail(fmt::format("has {} changes; allowed: at most {} at once", list->size(), kMaxChanges));
    std::vector<Change> changes;
    for (const json& one : *list) {
        auto change = read_change(one);
        if (!change && list->size() == 1) return tl::make_unexpected(change.error());
        if (!change)
            return operator_error(fmt::format("change {} of {}: {}; none of them was made",
                                              changes.size() + 1, list->size(), change.error().message));
        changes.push_back(std::move(*change));
    }
    return changes;
}

// What `check` says of a file, beside what a reload of it would change.
Answer judge(const ConfigResult& read, const Config& in_force) {
    std::vector<std::string> errors, warnings;
    for (const Diagnostic& diagnostic : read.diagnostics)
        (diagnostic.severity == Diagnostic::Severity::error ? errors : warnings).push_back(diagnostic.text());
    if (!read.config) return operator_error(fmt::format("{}", fmt::join(errors, "\n")));
    const ConfigDiff diff = diff_config(in_force, *read.config);
    return ordered_json{
        {"warnings", warnings}, {"changes", diff.changes}, {"needs_restart", diff.needs_restart}};
}

}  // namespace

ControlCommands::ControlCommands(ShowSources sources, ChangeQueue& queue, ControlLoop& loop)
    : sources_(std::move(sources)), queue_(queue), loop_(loop) {}

void ControlCommands::handle(const Request& request, const Peer& peer, const ControlServer::Reply& reply) {
    try {
        if (request.command == "change") return change(request, peer, reply);
        if (request.command == "reload") return reload(request, reply);
        if (request.command == "check") return check(request, peer, reply);
        if (request.command == "explain") return reply(explain(request));
        if (request.command == "version")
            return reply(ordered_json{{"version", weir_version()}, {"dpdk", dpdk_version()}});
        if (request.command != "show")
            return reply(operator_error(
                fmt::format("there is no command {}; allowed: show, change, reload, check, explain, version",
                            in_quotes(request.command))));
        const JsonReader reader(request.arguments, "show");
        reader.allow({"what"});
        reply(show(reader.text("what"), sources_));
    } catch (const JsonMistake& mistake) {
        reply(operator_error(mistake.what()));
    }
}

void ControlCommands::change(const Request& request, const Peer& peer, const ControlServer::Reply& reply) {
    auto changes = read_changes(request.arguments);
    if (!changes) return reply(tl::make_unexpected(changes.error()));
    queue_.change(std::move(*changes), fmt::format("uid {}, pid {}", peer.uid, peer.pid), reply);
}

void ControlCommands::reload(const Request& request, const ControlServer::Reply& reply) {
    const JsonReader reader(request.arguments, "reload");
    reader.allow({"dry_run"});
    queue_.reload(reader.flag("dry_run"), reply);
}

// A large file takes a while: another thread reads it. Who may read it is not weir's to say, so weir reads
// for those alone that could do so themselves.
void ControlCommands::check(const Request& request, const Peer& peer, const ControlServer::Reply& reply) {
    const JsonReader reader(request.arguments, "check");
    reader.allow({"file"});
    const std::string file = reader.text("file");
    if (peer.uid != 0 && peer.uid != ::geteuid())
        return reply(operator_error(
            fmt::format("{}: weir reads files for root and its own user alone; weir check -c {} "
                        "reads it as you",
                        file, file)));
    if (!file.starts_with('/'))
        return reply(operator_error(fmt::format("{}: allowed: an absolute path", file)));
    auto read = std::make_shared<ConfigResult>();
    loop_.in_background(
        [read, file, entries = queue_.entries()] { *read = EffectiveConfig::judge_file(file, *entries); },
        [read, reply, &world = sources_.world] { reply(judge(*read, *world.config())); });
}

Answer ControlCommands::explain(const Request& request) const {
    const JsonReader reader(request.arguments, "explain");
    reader.allow({"protocol", "from", "to"});
    const auto question = flow_question(reader.text("protocol"), reader.text("from"), reader.text("to"));
    if (!question) return tl::make_unexpected(question.error());
    const World& world = sources_.world;
    return to_json(
        explain_flow({*world.config(), world.ids(), *world.snapshot(), TickClock().now()}, *question), {});
}

}  // namespace weir
