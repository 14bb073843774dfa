// One file of a configuration, token by token, as libconfig 1.5's scanner sees it. Finds the mistakes that
// libconfig does not name (source_text.h says why) and the @includes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ctrl/config/diagnostics.h"

namespace weir {

// The brackets that are open and the names in them. Outlives a lexer: an included file goes on inside the
// group that includes it.
class BracketStack {
  public:
    explicit BracketStack(Diagnostics& diagnostics) : diagnostics_(diagnostics) { open_.emplace_back(); }

    void open(char bracket, const SourceLine& where);
    void close(char bracket, const SourceLine& where);
    void name(std::string_view key, const SourceLine& where);
    // The end of all files.
    void finish();

  private:
    struct Frame {
        char bracket = 0;  // 0: the file's own level
        SourceLine where;
        std::unordered_map<std::string, SourceLine> names;
    };
    Diagnostics& diagnostics_;
    std::vector<Frame> open_;
    bool too_deep_ = false;
};

// An integer that libconfig does not keep, and what it makes of it.
struct LostInteger {
    SourceLine where;
    std::int64_t becomes;
};

class ConfigLexer {
  public:
    // Called for `@include "NAME"` that spans [begin, end) of the text.
    using Include = std::function<void(const std::string& name, std::size_t begin, std::size_t end,
                                       const SourceLine& where)>;

    // `text` ends with a newline and outlives this.
    ConfigLexer(std::string_view text, const std::string& file, BracketStack& brackets,
                Diagnostics& diagnostics);
    void run(const Include& include);
    // Where integers stand that libconfig would wrap. Reported as errors, but no reason not to parse.
    [[nodiscard]] const std::vector<LostInteger>& lost_integers() const noexcept { return lost_integers_; }

  private:
    [[nodiscard]] SourceLine here() const { return {file_, line_}; }
    [[nodiscard]] char at(std::size_t position) const {
        return position < text_.size() ? text_[position] : '\0';
    }
    void skip_comment(std::string_view end);
    // Past the closing quote; the content, escapes of \ and " undone.
    std::string take_string(const char* what);
    bool take_include(const Include& include);
    void take_word();
    void take_number();
    void take_punctuation(char c);
    void judge_number(const std::string& word);
    void judge_integer(const std::string& word);

    std::string_view text_;
    const std::string& file_;
    BracketStack& brackets_;
    Diagnostics& diagnostics_;
    std::size_t at_ = 0;
    unsigned line_ = 1;
    std::vector<LostInteger> lost_integers_;
    std::string name_;        // the last token, if it was a name
    SourceLine name_where_;   // where it stands
    SourceLine comma_where_;  // the last token, if it was a comma: line > 0
};

}  // namespace weir
