#include "ctrl/log.h"

#include <fcntl.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

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

// A reader of the log that stalls must not stall the control core: then lines are lost. Files and terminals
// stay as they are.
void never_block_on(int descriptor) {
    struct stat about;
    if (fstat(descriptor, &about) != 0 || (!S_ISFIFO(about.st_mode) && !S_ISSOCK(about.st_mode))) return;
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

}  // namespace

Notify start_log() {
    never_block_on(STDERR_FILENO);
    auto logger = std::make_shared<spdlog::logger>("weir", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
    logger->set_pattern(journal ? "%l: %v" : "%Y-%m-%d %H:%M:%S.%e %l: %v");
    logger->flush_on(spdlog::level::info);
    return [logger](Severity severity, const std::string& sentence) {
        logger->log(level_of(severity), "{}", sentence);
    };
}

}  // namespace weir
