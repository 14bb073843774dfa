#include "ctrl/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace weir {

namespace {

spdlog::level::level_enum level_of(Severity severity) {
    switch (severity) {
        case Severity::info:
            return spdlog::level::info;
        case Severity::warning:
            return spdlog::level::warn;
        case Severity::error:
            break;
    }
    return spdlog::level::err;
}

}  // namespace

Notify start_log() {
    auto logger = std::make_shared<spdlog::logger>("weir", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
    logger->set_pattern(journal ? "%l: %v" : "%Y-%m-%d %H:%M:%S.%e %l: %v");
    logger->flush_on(spdlog::level::info);
    return [logger](Severity severity, const std::string& sentence) {
        logger->log(level_of(severity), "{}", sentence);
    };
}

}  // namespace weir
