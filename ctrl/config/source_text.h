// The text of a configuration as libconfig will parse it: read into memory once, its @includes put in, and
// judged by a small lexer first.
//
// Why a lexer before the parser. libconfig 1.5 (a) silently wraps integers beyond 32 bits, so that the value
// is lost before anybody can check it; (b) stops at the first mistake and calls nearly all of them "syntax
// error"; (c) calls exit(2) when an @include names a directory; (d) takes quadratic time for a group with
// very many keys and recurses as deep as the file nests. The lexer knows comments, strings, names, numbers
// and brackets exactly as libconfig's scanner does, names these mistakes with their lines, and bounds the
// rest.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "ctrl/config/diagnostics.h"

namespace weir {

inline constexpr std::size_t kMaxConfigBytes = std::size_t{64} << 20;  // all files together
inline constexpr unsigned kMaxIncludeDepth = 10;
inline constexpr unsigned kMaxNesting = 16;        // the deepest setting that weir knows is at 5
inline constexpr std::size_t kMaxGroupKeys = 256;  // the longest group that weir knows has 17

class SourceText {
  public:
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    // Where line `line` of text() comes from (counted from 1; 0 is taken as 1).
    [[nodiscard]] SourceLine where(unsigned line) const;
    // True if `value` is what libconfig makes of an integer on this line that does not fit, which has been
    // reported.
    [[nodiscard]] bool lost_integer(const SourceLine& where, std::int64_t value) const;

  private:
    friend class SourceLoader;
    // From `line` of text() on: `file_line` and following of files_[file].
    struct Segment {
        unsigned line, file_line;
        std::size_t file;
    };
    std::string text_;
    std::vector<std::string> files_;
    std::vector<Segment> segments_;
    std::set<std::tuple<std::string, unsigned, std::int64_t>> lost_integers_;
    std::size_t lost_ = 0;
};

// Reads `path` and what it includes (relative to the folder of the including file). Absent if anything is
// wrong that makes parsing pointless; the reasons are in `diagnostics`.
[[nodiscard]] std::optional<SourceText> load_source(const std::string& path, Diagnostics& diagnostics);
// The same for a text in memory, called `name` in messages; it cannot include files.
[[nodiscard]] std::optional<SourceText> source_of_text(std::string_view text, const std::string& name,
                                                       Diagnostics& diagnostics);

}  // namespace weir
