// Any bytes are a request or one sentence; a change that is read is written back as the same change.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ctrl/api/protocol.h"
#include "ctrl/changes/change.h"

namespace {

void try_change(const nlohmann::json& json) {
    const auto change = weir::read_change(json);
    if (!change) {
        if (change.error().message.empty()) std::abort();
        return;
    }
    const auto again = weir::read_change(weir::to_json(*change));
    if (!again || *again != *change || weir::to_text(*change).empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view line(reinterpret_cast<const char*>(data), size);
    const auto request = weir::read_request(line);
    // An answer is one line whatever it quotes.
    if (!request) {
        const std::string answer = weir::answer_line(tl::make_unexpected(request.error()));
        if (answer.find('\n') != answer.size() - 1) std::abort();
        (void)weir::read_answer(line);
        return 0;
    }
    if (request->arguments.contains("changes") && request->arguments["changes"].is_array())
        for (const auto& change : request->arguments["changes"]) try_change(change);
    try_change(request->arguments);
    return 0;
}
