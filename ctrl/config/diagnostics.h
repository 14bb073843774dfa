// Collects what reading and validating find, so that the operator sees every mistake at once.
// Control side only; one thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ctrl/config/config.h"

namespace weir {

class Diagnostics {
  public:
    // A machine-made file can be wrong a million times; nobody reads past the first of them.
    static constexpr std::size_t kMaxShown = 1'000;

    void error(const SourceLine& where, std::string message);
    void warning(const SourceLine& where, std::string message);
    [[nodiscard]] std::size_t errors() const noexcept { return errors_; }

    // Everything so far, sorted by file and line (the order of arrival within a line), duplicates once.
    // Beyond kMaxShown errors come first and a last one says how many are left out. Leaves this empty.
    [[nodiscard]] std::vector<Diagnostic> take();

  private:
    std::vector<Diagnostic> list_;
    std::size_t errors_ = 0;
};

// "1,048,576": messages and allowed ranges.
[[nodiscard]] std::string grouped(std::int64_t number);
// `text` in quotes, safe to print on a terminal, cut after 80 bytes.
[[nodiscard]] std::string in_quotes(std::string_view text);
// The candidate that `word` most likely means, or "" if none is near.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       const std::vector<std::string_view>& candidates);

}  // namespace weir
