// Any bytes are a journal or one sentence; a journal that is read is the same after compaction. Bytes that
// are a list are tried as the entries of a line too, with the checksum that the fuzzer would not guess.
#include <fmt/format.h>
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "ctrl/changes/journal_text.h"

namespace {

void try_journal(std::string_view text) {
    const auto journal = weir::read_journal_text(text, "j");
    if (!journal) {
        if (journal.error().message.rfind("j:", 0) != 0) std::abort();
        return;
    }
    if (journal->torn > text.size()) std::abort();
    const auto again = weir::read_journal_text(weir::journal_of(journal->entries), "j");
    if (!again || again->entries != journal->entries || again->torn != 0) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    try_journal(text);
    const auto list = nlohmann::json::parse(text, nullptr, false);
    if (!list.is_array()) return 0;
    const std::string entries = list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(entries.data()), entries.size());
    try_journal(weir::journal_of({}) + fmt::format("{{\"crc32\":\"{:08x}\",\"entries\":{}}}\n",
                                                   static_cast<std::uint32_t>(crc), entries));
    return 0;
}
