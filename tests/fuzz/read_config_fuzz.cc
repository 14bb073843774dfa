// Any bytes are a configuration or a list of errors with file and line. Run with the corpus beside this file:
//     build-fuzz/tests/fuzz/read_config_fuzz tests/fuzz/corpus/read_config_fuzz
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ctrl/config/diff_config.h"
#include "ctrl/config/read_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const weir::ConfigResult result =
        weir::read_config_text({reinterpret_cast<const char*>(data), size}, "fuzz.cfg");
    std::size_t errors = 0;
    for (const weir::Diagnostic& diagnostic : result.diagnostics) {
        if (diagnostic.where.file != "fuzz.cfg" || diagnostic.where.line == 0 || diagnostic.message.empty())
            std::abort();
        errors += diagnostic.severity == weir::Diagnostic::Severity::error ? 1 : 0;
    }
    if (result.config.has_value() != (errors == 0)) std::abort();
    if (result.config && !weir::diff_config(*result.config, *result.config).empty()) std::abort();
    return 0;
}
