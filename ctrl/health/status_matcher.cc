#include "ctrl/health/status_matcher.h"

#include <charconv>

namespace weir {
namespace {

// The number that `text` begins with, which is taken off, with blanks around it.
unsigned take_number(std::string_view& text) {
    const auto skip_blanks = [&text] {
        while (text.starts_with(' ')) text.remove_prefix(1);
    };
    skip_blanks();
    unsigned number = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), number).ptr;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    skip_blanks();
    return number;
}

}  // namespace

bool matches(std::string_view matcher, unsigned code) {
    while (!matcher.empty()) {
        const unsigned first = take_number(matcher);
        unsigned last = first;
        if (matcher.starts_with('-')) {
            matcher.remove_prefix(1);
            last = take_number(matcher);
        }
        if (first <= code && code <= last) return true;
        if (!matcher.starts_with(',')) return false;
        matcher.remove_prefix(1);
    }
    return false;
}

}  // namespace weir
