#include "ctrl/config/source_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include "ctrl/config/config_lexer.h"
#include "ctrl/config/read_file.h"

namespace weir {

SourceLine SourceText::where(unsigned line) const {
    line = std::max(line, 1u);
    auto next = std::upper_bound(segments_.begin(), segments_.end(), line,
                                 [](unsigned l, const Segment& segment) { return l < segment.line; });
    const Segment& segment = *std::prev(next);  // the first segment begins at line 1
    return {files_[segment.file], segment.file_line + (line - segment.line)};
}

bool SourceText::lost_integer(const SourceLine& where, std::int64_t value) const {
    return lost_integers_.contains({where.file, where.line, value});
}

// Fills a SourceText file by file.
class SourceLoader {
  public:
    explicit SourceLoader(Diagnostics& diagnostics) : diagnostics_(diagnostics), brackets_(diagnostics) {}

    void load_file(const std::string& path) {
        auto text = read_file(path, kMaxConfigBytes);
        source_.files_.push_back(path);
        if (!text) {
            diagnostics_.error({path, 1}, text.error().message);
            return;
        }
        add(std::move(*text), 0, std::filesystem::path(path).parent_path());
    }
    void load_text(std::string_view text, const std::string& name) {
        source_.files_.push_back(name);
        includes_ = false;
        add(std::string(text), 0, {});
    }
    // Absent if something was found that makes parsing pointless.
    std::optional<SourceText> finish() {
        brackets_.finish();
        if (diagnostics_.errors() != source_.lost_) return std::nullopt;
        return std::move(source_);
    }

  private:
    using Folder = std::filesystem::path;

    void add(std::string text, std::size_t file, const Folder& folder);
    void include(const std::string& name, const SourceLine& where, const Folder& folder);
    // False if the text is no text; says so.
    bool is_text(const std::string& text, std::size_t file);
    void append(std::string_view part, std::size_t file, unsigned file_line) {
        source_.segments_.push_back({line_, file_line, file});
        source_.text_.append(part);
        line_ += static_cast<unsigned>(std::count(part.begin(), part.end(), '\n'));
    }

    Diagnostics& diagnostics_;
    BracketStack brackets_;
    SourceText source_;
    unsigned line_ = 1;                   // of source_.text_, that the next append() begins on
    std::vector<std::string> including_;  // the files that are being read, from the outermost
    std::size_t bytes_ = 0;
    bool includes_ = true;
};

bool SourceLoader::is_text(const std::string& text, std::size_t file) {
    const std::string& name = source_.files_[file];
    if (text.starts_with("\xef\xbb\xbf")) {
        diagnostics_.error({name, 1}, "begins with a UTF-8 byte order mark; save it as UTF-8 without BOM");
        return false;
    }
    const std::size_t nul = text.find('\0');
    if (nul == std::string::npos) return true;
    const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(nul), '\n');
    diagnostics_.error(
        {name, static_cast<unsigned>(line) + 1},
        fmt::format("NUL byte at offset {}; a configuration is plain text (UTF-8, not UTF-16)", nul));
    return false;
}

void SourceLoader::add(std::string text, std::size_t file, const Folder& folder) {
    bytes_ += text.size();
    if (bytes_ > kMaxConfigBytes) {
        diagnostics_.error(
            {source_.files_[file], 1},
            fmt::format("the configuration with all its @includes is larger than {} MiB, the limit",
                        kMaxConfigBytes >> 20));
        return;
    }
    if (!is_text(text, file)) return;
    if (text.empty() || text.back() != '\n') text += '\n';
    including_.push_back(source_.files_[file]);
    std::size_t copied = 0;
    unsigned copied_line = 1;
    const std::string name = source_.files_[file];
    ConfigLexer lexer(text, name, brackets_, diagnostics_);
    lexer.run([&](const std::string& target, std::size_t begin, std::size_t end, const SourceLine& where) {
        append(std::string_view(text).substr(copied, begin - copied), file, copied_line);
        include(target, where, folder);
        copied = end;
        copied_line = where.line;
    });
    append(std::string_view(text).substr(copied), file, copied_line);
    for (const LostInteger& lost : lexer.lost_integers())
        source_.lost_integers_.emplace(lost.where.file, lost.where.line, lost.becomes);
    source_.lost_ += lexer.lost_integers().size();
    including_.pop_back();
}

void SourceLoader::include(const std::string& name, const SourceLine& where, const Folder& folder) {
    if (!includes_)
        return diagnostics_.error(where, "@include needs a file to be relative to; this text is none");
    if (name.empty()) return diagnostics_.error(where, "@include names no file");
    const std::string path = (folder / name).string();
    if (std::find(including_.begin(), including_.end(), path) != including_.end())
        return diagnostics_.error(where, fmt::format("@include {} includes itself", in_quotes(name)));
    if (including_.size() > kMaxIncludeDepth)
        return diagnostics_.error(where,
                                  fmt::format("@includes nest deeper than {}, the limit", kMaxIncludeDepth));
    // Two to the power of the depth: files that include one file twice each.
    constexpr std::size_t kMaxFiles = 1'000;
    if (source_.files_.size() >= kMaxFiles)
        return diagnostics_.error(where, fmt::format("more than {} @includes, the limit", kMaxFiles));
    auto text = read_file(path, kMaxConfigBytes);
    if (!text)
        return diagnostics_.error(where,
                                  fmt::format("@include {}: {}", in_quotes(path), text.error().message));
    source_.files_.push_back(path);
    add(std::move(*text), source_.files_.size() - 1, std::filesystem::path(path).parent_path());
}

std::optional<SourceText> load_source(const std::string& path, Diagnostics& diagnostics) {
    SourceLoader loader(diagnostics);
    loader.load_file(path);
    return loader.finish();
}

std::optional<SourceText> source_of_text(std::string_view text, const std::string& name,
                                         Diagnostics& diagnostics) {
    SourceLoader loader(diagnostics);
    loader.load_text(text, name);
    return loader.finish();
}

}  // namespace weir
