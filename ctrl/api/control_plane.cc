#include "ctrl/api/control_plane.h"

#include <fmt/format.h>

namespace weir {
namespace {

const ControlConfig& control_of(const Config& file) {
    static const ControlConfig kDefaults;
    return file.control ? *file.control : kDefaults;
}

Result<std::shared_ptr<JournalStore>> open_store(const std::string& path, const Notify& notify) {
    auto directory = StateDirectory::open(path);
    if (!directory) return tl::make_unexpected(directory.error());
    const std::string why = directory->why_read_only();
    if (!why.empty())
        notify(Severity::warning,
               fmt::format("{}: {}: run-time changes will be refused until weir may write there", path, why));
    return std::make_shared<JournalStore>(JournalStore{std::move(*directory), std::nullopt});
}

Result<StartConfig> load_config(Config file, const Notify& notify) {
    const bool asked_for = file.control.has_value();
    const std::string path = control_of(file).state_directory;
    auto store = open_store(path, notify);
    if (!store && asked_for) return tl::make_unexpected(store.error());
    std::vector<std::string> warnings;
    if (!store) {
        notify(Severity::warning, store.error().message + "; run-time changes will be refused");
        return StartConfig{
            EffectiveConfig(std::move(file), {}, warnings), nullptr, store.error().message, {}};
    }
    auto journal = Journal::open((*store)->directory, notify);
    if (!journal) return tl::make_unexpected(journal.error());
    EffectiveConfig effective(std::move(file), journal->take_entries(), warnings);
    for (const std::string& warning : warnings) notify(Severity::warning, warning);
    if (!effective.entries()->empty())
        notify(Severity::info, fmt::format("{}: run-time changes of {} backends are in force",
                                           journal->path(), effective.entries()->size()));
    // What was dropped now must not come back with a later file.
    if (!warnings.empty())
        if (const auto written = journal->rewrite(*effective.entries()); !written)
            notify(Severity::warning, written.error().message);
    (*store)->journal.emplace(std::move(*journal));
    return StartConfig{std::move(effective), std::move(*store), {}, {}};
}

}  // namespace

Result<StartConfig> load_start_config(Config file, const Notify& notify) {
    const bool asked_for = file.control.has_value();
    auto socket = ControlSocket::open(control_of(file).socket);
    if (!socket && asked_for) return tl::make_unexpected(socket.error());
    if (!socket) notify(Severity::warning, socket.error().message + "; weirctl will not find this weir");
    auto start = load_config(std::move(file), notify);
    if (start && socket) start->socket.emplace(std::move(*socket));
    return start;
}

ControlPlane::ControlPlane(ControlSocket socket, ShowSources sources, ChangeQueue& queue, ControlLoop& loop)
    : commands_(std::move(sources), queue, loop),
      server_(std::move(socket), loop,
              [this](const Request& request, const Peer& peer, const ControlServer::Reply& reply) {
                  commands_.handle(request, peer, reply);
              }) {}

}  // namespace weir
