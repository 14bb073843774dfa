#include "ctrl/config/read_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <optional>

#include "ctrl/config/read_sections.h"
#include "ctrl/config/source_text.h"
#include "ctrl/config/validate_config.h"

namespace weir {
namespace {

void report_parse_error(const libconfig::ParseException& mistake, const SourceText& source,
                        Diagnostics& diagnostics) {
    const std::string reason = mistake.getError() == nullptr ? "syntax error" : mistake.getError();
    const auto line = static_cast<unsigned>(std::max(mistake.getLine(), 1));
    diagnostics.error(
        source.where(line),
        fmt::format("{} here or just before; allowed: KEY = VALUE; with texts in quotes, a comma "
                    "between two entries of ( ) or [ ], true or false without quotes",
                    reason));
}

Config read_root(const libconfig::Setting& setting, const SourceText& source, const std::string& file,
                 Diagnostics& diagnostics, CheckScope& scope) {
    Config config;
    config.file = file;
    config.where = {file, 1};
    GroupReader root(setting, "", source, diagnostics);
    read_dataplane(root, std::filesystem::path(file).parent_path().string(), config);
    if (root.find("zone") != nullptr) read_name(root, "zone", config.zone);
    read_timeouts(root, config);
    const std::size_t before_ports = diagnostics.errors();
    read_ports(root, config);
    read_neighbors(root, config);
    read_routes(root, config);
    // What the ports can reach is not judged from half of their addresses.
    scope.reachability = diagnostics.errors() == before_ports;
    read_pools(root, config);
    read_services(root, config);
    read_metrics(root, config);
    read_control(root, config);
    config.keys = root.key_lines();
    root.finish();
    return config;
}

ConfigResult parse(const SourceText& source, const std::string& file, Diagnostics& diagnostics) {
    libconfig::Config parser;
    try {
        parser.readString(source.text());
    } catch (const libconfig::ParseException& mistake) {
        report_parse_error(mistake, source, diagnostics);
        return {std::nullopt, diagnostics.take()};
    }
    CheckScope scope;
    Config config = read_root(parser.getRoot(), source, file, diagnostics, scope);
    // "unused" and "empty" are not worth saying about a file that could not be read whole.
    scope.warnings = diagnostics.errors() == 0;
    check_config(config, scope, diagnostics);
    const bool good = diagnostics.errors() == 0;
    return {good ? std::optional(std::move(config)) : std::nullopt, diagnostics.take()};
}

template <class Load>
ConfigResult read(const std::string& file, Load load) {
    Diagnostics diagnostics;
    try {
        const std::optional<SourceText> source = load(diagnostics);
        if (!source) return {std::nullopt, diagnostics.take()};
        return parse(*source, file, diagnostics);
    } catch (const std::exception& failure) {
        // Out of memory, or a mistake of ours: the caller keeps the configuration that it has.
        diagnostics.error({file, 1}, fmt::format("cannot be read: {}", failure.what()));
        return {std::nullopt, diagnostics.take()};
    }
}

}  // namespace

ConfigResult read_config(const std::string& path) {
    return read(path, [&](Diagnostics& diagnostics) { return load_source(path, diagnostics); });
}

ConfigResult read_config_text(std::string_view text, const std::string& name) {
    return read(name, [&](Diagnostics& diagnostics) { return source_of_text(text, name, diagnostics); });
}

}  // namespace weir
