#include "ctrl/commands/check_command.h"

#include <fmt/core.h>

#include <cstdio>

#include "ctrl/config/read_config.h"

namespace weir {
namespace {

std::string counted(std::size_t number, const char* one) {
    return fmt::format("{} {}{}", number, one, number == 1 ? "" : "s");
}

}  // namespace

int check_command(const std::string& file) {
    const ConfigResult result = read_config(file);
    std::size_t errors = 0;
    for (const Diagnostic& diagnostic : result.diagnostics) {
        fmt::print(stderr, "{}\n", diagnostic.text());
        if (diagnostic.severity == Diagnostic::Severity::error) ++errors;
    }
    const std::size_t warnings = result.diagnostics.size() - errors;
    if (!result.config) {
        fmt::print(stderr, "{}: refused ({}, {})\n", file, counted(errors, "error"),
                   counted(warnings, "warning"));
        return 1;
    }
    const Config& config = *result.config;
    std::size_t backends = 0;
    for (const PoolConfig& pool : config.pools) backends += pool.backends.size();
    fmt::print("{}: ok ({}, {}, {}, {}, {}, {})\n", file, counted(config.dataplane.workers, "worker"),
               counted(config.ports.size(), "port"), counted(config.services.size(), "service"),
               counted(config.pools.size(), "pool"), counted(backends, "backend"),
               counted(warnings, "warning"));
    return 0;
}

}  // namespace weir
