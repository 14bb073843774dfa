// Any bytes are a journal or one sentence; a journal that is read is the same after compaction.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ctrl/changes/journal_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto journal = weir::read_journal_text(text, "j");
    if (!journal) {
        if (journal.error().message.rfind("j:", 0) != 0) std::abort();
        return 0;
    }
    if (journal->torn > size) std::abort();
    const auto again = weir::read_journal_text(weir::journal_of(journal->entries), "j");
    if (!again || again->entries != journal->entries || again->torn != 0) std::abort();
    return 0;
}
