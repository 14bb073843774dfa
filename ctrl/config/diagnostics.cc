#include "ctrl/config/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace weir {
namespace {

bool before(const Diagnostic& a, const Diagnostic& b) {
    return std::tie(a.where.file, a.where.line) < std::tie(b.where.file, b.where.line);
}

bool same(const Diagnostic& a, const Diagnostic& b) {
    return a.where.line == b.where.line && a.where.file == b.where.file && a.message == b.message;
}

bool is_error(const Diagnostic& diagnostic) { return diagnostic.severity == Diagnostic::Severity::error; }

// Levenshtein's distance: insertions, deletions, replacements.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row[b.size()];
}

}  // namespace

std::string SourceLine::text() const { return line == 0 ? file : fmt::format("{}:{}", file, line); }

std::string Diagnostic::text() const {
    return fmt::format("{}: {}{}", where.text(), severity == Severity::warning ? "warning: " : "", message);
}

void Diagnostics::error(const SourceLine& where, std::string message) {
    list_.push_back({Diagnostic::Severity::error, where, std::move(message)});
    ++errors_;
}

void Diagnostics::warning(const SourceLine& where, std::string message) {
    list_.push_back({Diagnostic::Severity::warning, where, std::move(message)});
}

std::vector<Diagnostic> Diagnostics::take() {
    std::vector<Diagnostic> list = std::move(list_);
    list_.clear();
    errors_ = 0;
    std::stable_sort(list.begin(), list.end(), before);
    list.erase(std::unique(list.begin(), list.end(), same), list.end());
    if (list.size() <= kMaxShown) return list;
    // An error must not be cut off by warnings: it is what refuses the configuration.
    std::stable_partition(list.begin(), list.end(), is_error);
    const std::size_t left_out = list.size() - kMaxShown;
    const SourceLine where = list[kMaxShown - 1].where;
    const auto severity = list[kMaxShown - 1].severity;
    list.resize(kMaxShown);
    std::stable_sort(list.begin(), list.end(), before);
    list.push_back({severity, where,
                    fmt::format("{} more are not shown; correct these first",
                                grouped(static_cast<std::int64_t>(left_out)))});
    return list;
}

std::string grouped(std::int64_t number) {
    const std::string digits = fmt::format("{}", number);
    std::string text;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        const bool between_digits = i > 0 && digits[i - 1] != '-';
        if (between_digits && (digits.size() - i) % 3 == 0) text += ',';
        text += digits[i];
    }
    return text;
}

std::string in_quotes(std::string_view text) {
    constexpr std::size_t kMaxQuoted = 80;
    std::string out = "\"";
    for (const char c : text.substr(0, kMaxQuoted)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7f && byte < 0x80)
            out += c;
        else
            out += fmt::format("\\x{:02x}", byte);
    }
    if (text.size() > kMaxQuoted) out += "...";
    return out + "\"";
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
    constexpr std::size_t kLongestKey = 64;  // longer is no slip of the finger, and distance() is quadratic
    if (word.size() > kLongestKey) return {};
    std::string_view best;
    std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
    for (const std::string_view candidate : candidates) {
        const std::size_t d = distance(word, candidate);
        if (d < best_distance && d < candidate.size()) {
            best = candidate;
            best_distance = d;
        }
    }
    return best;
}

}  // namespace weir
