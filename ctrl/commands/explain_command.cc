#include "ctrl/commands/explain_command.h"

#include <fmt/format.h>

#include <cstdio>

#include "ctrl/api/explain_json.h"
#include "ctrl/api/explanation_text.h"
#include "ctrl/offline_world.h"

namespace weir {

int explain_command(const ExplainRequest& request) {
    const auto question = flow_question(request.protocol, request.from, request.to);
    if (!question) {
        fmt::print(stderr, "weir explain: {}\n", question.error().message);
        return 1;
    }
    for (const std::string& down : request.down) {
        if (down.find('@') == std::string::npos) continue;
        fmt::print(stderr, "weir explain: --down {}: times are for replay; write POOL/NAME\n", down);
        return 1;
    }
    const auto world = make_offline_world(request.config_file, request.down);
    if (!world) {
        fmt::print(stderr, "{}\n", world.error().message);
        return static_cast<int>(world.error().cause);
    }
    const OfflineWorld& offline = **world;
    const nlohmann::ordered_json answer = to_json(
        explain_flow({offline.config, offline.ids, offline.snapshot()}, *question), offline.assumptions);
    if (request.json)
        fmt::print("{}\n", answer.dump(2));
    else
        fmt::print("{}", explanation_text(
                             fmt::format("{} {} -> {}", request.protocol, request.from, request.to), answer));
    return 0;
}

}  // namespace weir
