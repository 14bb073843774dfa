#include "ctrl/commands/backend_setup_command.h"

#include <fmt/core.h>

#include <cstdio>

#include "ctrl/backend_setup.h"
#include "ctrl/offline_world.h"

namespace weir {

namespace {

Result<std::string> script_for(const BackendSetupRequest& request) {
    const auto config = read_offline_config(request.config_file);
    if (!config) return tl::make_unexpected(config.error());
    return request.undo ? backend_undo_script(*config, request.backend)
                        : backend_setup_script(*config, request.backend);
}

}  // namespace

int backend_setup_command(const BackendSetupRequest& request) {
    const auto script = script_for(request);
    if (!script) {
        fmt::print(stderr, "{}\n", script.error().message);
        return static_cast<int>(script.error().cause);
    }
    fmt::print("{}", *script);
    return 0;
}

}  // namespace weir
