#include "ctrl/config/config_lexer.h"

#include <fmt/format.h>

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <limits>

#include "ctrl/config/source_text.h"

namespace weir {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
// libconfig's names: [A-Za-z*][-A-Za-z0-9_*]*
bool begins_name(char c) { return is_letter(c) || c == '*'; }
bool continues_name(char c) { return begins_name(c) || is_digit(c) || c == '-' || c == '_'; }

char closing_of(char bracket) { return bracket == '(' ? ')' : bracket == '[' ? ']' : '}'; }

bool all_of(std::string_view text, bool (*test)(char)) {
    for (const char c : text)
        if (!test(c)) return false;
    return !text.empty();
}
bool is_hex_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Digits, at most one point, perhaps an exponent. Everything that libconfig takes for a number passes, and
// what passes beyond that is left to its own "syntax error".
bool looks_like_float(std::string_view word) {
    std::size_t points = 0;
    for (std::size_t i = 0; i < word.size(); ++i) {
        const char c = word[i];
        if (c == '.') ++points;
        const bool sign = (c == '+' || c == '-') && (i == 0 || word[i - 1] == 'e' || word[i - 1] == 'E');
        if (!is_digit(c) && c != '.' && c != 'e' && c != 'E' && !sign) return false;
    }
    return points <= 1;
}

}  // namespace

// --- BracketStack

void BracketStack::open(char bracket, const SourceLine& where) {
    if (open_.size() > kMaxNesting) {
        if (!too_deep_)
            diagnostics_.error(where, fmt::format("brackets nest deeper than {}, the limit", kMaxNesting));
        too_deep_ = true;
    }
    open_.push_back({bracket, where, {}});
}

void BracketStack::close(char bracket, const SourceLine& where) {
    const Frame& frame = open_.back();
    if (frame.bracket == 0) {
        diagnostics_.error(where, fmt::format("'{}' closes nothing; remove it", bracket));
        return;
    }
    if (closing_of(frame.bracket) != bracket)
        diagnostics_.error(
            where, fmt::format("'{}' cannot close the '{}' of line {}; '{}' is missing before it", bracket,
                               frame.bracket, frame.where.line, closing_of(frame.bracket)));
    open_.pop_back();
}

void BracketStack::name(std::string_view key, const SourceLine& where) {
    auto& names = open_.back().names;
    const auto [first, is_new] = names.emplace(key, where);
    if (!is_new)
        diagnostics_.error(where, fmt::format("{} is set twice; it already stands at {}:{}: remove one", key,
                                              first->second.file, first->second.line));
    if (is_new && names.size() == kMaxGroupKeys + 1)
        diagnostics_.error(where,
                           fmt::format("more than {} settings in one group, the limit", kMaxGroupKeys));
}

void BracketStack::finish() {
    for (; open_.size() > 1; open_.pop_back())
        diagnostics_.error(open_.back().where,
                           fmt::format("'{}' is never closed; '{}' is missing (is the file cut off?)",
                                       open_.back().bracket, closing_of(open_.back().bracket)));
}

// --- ConfigLexer

ConfigLexer::ConfigLexer(std::string_view text, const std::string& file, BracketStack& brackets,
                         Diagnostics& diagnostics)
    : text_(text), file_(file), brackets_(brackets), diagnostics_(diagnostics) {}

void ConfigLexer::run(const Include& include) {
    while (at_ < text_.size()) {
        const char c = text_[at_];
        if (c == '\n') {
            ++line_;
            ++at_;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
            ++at_;
        } else if (c == '#' || (c == '/' && at(at_ + 1) == '/')) {
            skip_comment("\n");
        } else if (c == '/' && at(at_ + 1) == '*') {
            skip_comment("*/");
        } else if (c == '@') {
            if (!take_include(include)) {
                diagnostics_.error(here(),
                                   "'@' outside quotes; allowed: a line that begins with @include \"FILE\"");
                ++at_;
            }
        } else if (c == '"') {
            take_string("text");
            name_.clear();
            comma_where_.line = 0;
        } else if (begins_name(c)) {
            take_word();
        } else if (is_digit(c) || ((c == '-' || c == '+') && is_digit(at(at_ + 1)))) {
            take_number();
        } else {
            take_punctuation(c);
        }
    }
}

void ConfigLexer::skip_comment(std::string_view end) {
    const SourceLine begin = here();
    const std::size_t found = text_.find(end, at_ + (end == "\n" ? 0 : 2));
    const std::size_t stop = found == std::string_view::npos ? text_.size() : found;
    if (end != "\n") {
        if (found == std::string_view::npos)
            diagnostics_.error(begin, "the comment /* is never closed; */ is missing");
        for (std::size_t i = at_; i < stop; ++i) line_ += text_[i] == '\n' ? 1 : 0;
        at_ = stop + (found == std::string_view::npos ? 0 : 2);
    } else {
        at_ = stop;  // the newline counts itself
    }
}

std::string ConfigLexer::take_string(const char* what) {
    const SourceLine begin = here();
    std::string content;
    for (++at_; at_ < text_.size(); ++at_) {
        const char c = text_[at_];
        if (c == '"') {
            ++at_;
            return content;
        }
        if (c == '\n') ++line_;
        if (c == '\\' && (at(at_ + 1) == '\\' || at(at_ + 1) == '"')) {
            content += at(++at_);
            continue;
        }
        // libconfig would end the text here without a word.
        if (c == '\\' && (at(at_ + 1) == 'x' || at(at_ + 1) == 'X') && at(at_ + 2) == '0' &&
            at(at_ + 3) == '0')
            diagnostics_.error(here(), "\\x00 in a text; no setting holds a NUL byte");
        content += c;
    }
    diagnostics_.error(begin, fmt::format("the {} that begins here is never closed; '\"' is missing", what));
    return content;
}

bool ConfigLexer::take_include(const Include& include) {
    constexpr std::string_view kDirective = "@include";
    // libconfig takes it at the beginning of a line only.
    std::size_t begin = at_;
    while (begin > 0 && (text_[begin - 1] == ' ' || text_[begin - 1] == '\t')) --begin;
    if (begin > 0 && text_[begin - 1] != '\n') return false;
    if (text_.substr(at_, kDirective.size()) != kDirective) return false;
    std::size_t quote = at_ + kDirective.size();
    while (at(quote) == ' ' || at(quote) == '\t') ++quote;
    if (at(quote) != '"' || quote == at_ + kDirective.size()) return false;
    const SourceLine where = here();
    at_ = quote;
    const std::string name = take_string("file name");
    include(name, begin, at_, where);
    name_.clear();
    comma_where_.line = 0;
    return true;
}

void ConfigLexer::take_word() {
    const std::size_t begin = at_;
    while (continues_name(at(at_))) ++at_;
    name_ = text_.substr(begin, at_ - begin);
    name_where_ = here();
    comma_where_.line = 0;
}

void ConfigLexer::take_number() {
    const std::size_t begin = at_++;
    for (;; ++at_) {
        const char c = at(at_);
        const char last = text_[at_ - 1];
        if (is_digit(c) || is_letter(c) || c == '.' || c == '_') continue;
        if ((c == '+' || c == '-') && (last == 'e' || last == 'E')) continue;
        if (c == '-' && is_digit(at(at_ + 1))) continue;  // a range without quotes: 8000-8099
        // An address without quotes, to be shown whole: 10.1.0.0/24, 02:00:00:00:00:01
        if ((c == '/' || c == ':') && is_hex_digit(at(at_ + 1))) continue;
        break;
    }
    judge_number(std::string(text_.substr(begin, at_ - begin)));
    name_.clear();
    comma_where_.line = 0;
}

void ConfigLexer::judge_number(const std::string& word) {
    std::string_view digits = word;
    if (digits[0] == '+' || digits[0] == '-') digits.remove_prefix(1);
    const bool hex = digits.size() > 1 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    if (hex) digits.remove_prefix(2);
    for (int i = 0; i < 2 && !digits.empty() && digits.back() == 'L'; ++i) digits.remove_suffix(1);
    if (all_of(digits, hex ? is_hex_digit : is_digit)) return judge_integer(word);
    if (!hex && looks_like_float(word)) return;
    diagnostics_.error(here(),
                       fmt::format("{} is not a number; addresses, durations, sizes and other texts stand in "
                                   "quotes: \"{}\"",
                                   word.substr(0, 80), word.substr(0, 80)));
}

void ConfigLexer::judge_integer(const std::string& word) {
    const bool hex = word.find_first_of("xX") != std::string::npos;
    const bool wide = word.back() == 'L';
    errno = 0;
    const long long value = std::strtoll(word.c_str(), nullptr, hex ? 16 : 10);
    const bool lost = errno == ERANGE;
    using Narrow = std::numeric_limits<std::int32_t>;
    if (!lost && (wide || (value >= Narrow::min() && value <= Narrow::max()))) return;
    lost_integers_.push_back({here(), wide ? value : static_cast<std::int32_t>(value)});
    diagnostics_.error(
        here(), fmt::format("the number {} does not fit; allowed: {} to {} (no setting needs more; sizes "
                            "are texts with a unit: \"64M\", \"1G\")",
                            word.substr(0, 80), grouped(Narrow::min()), grouped(Narrow::max())));
}

void ConfigLexer::take_punctuation(char c) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c == '=' || c == ':') && !name_.empty()) brackets_.name(name_, name_where_);
    if (c == '{' || c == '[' || c == '(') brackets_.open(c, here());
    if (c == '}' || c == ']' || c == ')') {
        if (comma_where_.line != 0)
            diagnostics_.error(comma_where_, fmt::format("a comma before '{}'; remove it", c));
        brackets_.close(c, here());
    }
    name_.clear();
    comma_where_.line = c == ',' ? line_ : 0;
    comma_where_.file = file_;
    ++at_;
    if (byte < 0x80 && (byte >= 0x20 && byte != 0x7f)) return;
    // One message for a run of them: a word in another script, or a binary file.
    diagnostics_.error(here(),
                       fmt::format("byte 0x{:02x} outside quotes and comments; allowed: plain ASCII (are the "
                                   "quotes typographic ones?)",
                                   byte));
    while (at_ < text_.size() && static_cast<unsigned char>(text_[at_]) >= 0x80) ++at_;
}

}  // namespace weir
