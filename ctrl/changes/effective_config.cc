#include "ctrl/changes/effective_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "ctrl/config/validate_config.h"

namespace weir {
namespace {

bool is_error(const Diagnostic& diagnostic) { return diagnostic.severity == Diagnostic::Severity::error; }

// What a command is told: the sentence alone, unless a line of the file has to do with it.
std::string told(const Diagnostic& diagnostic) {
    return diagnostic.where.line == 0 ? diagnostic.message : diagnostic.text();
}

// A backend that was added may contradict a file that came later: what to do about it.
void add_remedy(Diagnostic& diagnostic) {
    if (const auto key = key_of(diagnostic.where))
        diagnostic.message +=
            fmt::format("; change the file, or weirctl backend remove {} {}", key->pool, key->name);
}

Result<void> enter_all(std::span<const Change> changes, const BackendIndex& file, JournalEntries& entries,
                       ChangePlan& plan) {
    std::set<BackendKey> changed;
    for (std::size_t i = 0; i < changes.size(); ++i) {
        const Change& change = changes[i];
        const auto entered = enter(change, file, entries);
        if (!entered && changes.size() == 1) return tl::make_unexpected(entered.error());
        if (!entered)
            return operator_error(fmt::format("change {} of {} ({}): {}; none of them was made", i + 1,
                                              changes.size(), to_text(change), entered.error().message));
        if (*entered) changed.insert(change.key);
        if (change.kind == Change::Kind::remove && change.now) plan.cut.push_back(change.key);
    }
    plan.changed.assign(changed.begin(), changed.end());
    return {};
}

}  // namespace

EffectiveConfig::EffectiveConfig(Config file, JournalEntries entries, std::vector<std::string>& warnings)
    : file_(std::make_unique<const File>(std::move(file))) {
    Overlay overlaid = overlay(file_->config, file_->index, entries);
    warnings = std::move(overlaid.warnings);
    entries_ = std::make_shared<const JournalEntries>(std::move(overlaid.kept));
    config_ = std::move(overlaid.config);
    if (!entries_->empty()) leave_out_contradictions(warnings);
    remember_warnings();
}

// First the entries that errors name. If that does not do, an error is about several together: all that add.
void EffectiveConfig::leave_out_contradictions(std::vector<std::string>& warnings) {
    for (const bool all : {false, true}) {
        const std::vector<Diagnostic> found = validate_config(config_);
        if (std::ranges::none_of(found, is_error)) return;
        JournalEntries kept = *entries_;
        for (const Diagnostic& diagnostic : found) {
            if (!is_error(diagnostic)) continue;
            const auto key = key_of(diagnostic.where);
            if (key) kept.erase(*key);
            if (key || all)
                warnings.push_back(fmt::format("{}; the run-time change is dropped", told(diagnostic)));
        }
        if (all) std::erase_if(kept, [](const auto& entry) { return entry.second.added.has_value(); });
        config_ = overlay(file_->config, file_->index, kept).config;
        entries_ = std::make_shared<const JournalEntries>(std::move(kept));
    }
}

void EffectiveConfig::remember_warnings() {
    warnings_.clear();
    for (const Diagnostic& diagnostic : validate_config(config_)) warnings_.insert(told(diagnostic));
}

ConfigResult EffectiveConfig::read(const std::string& path, const JournalEntries& entries, Read& read) {
    ConfigResult result = read_config(path);
    if (!result.config) return result;
    read.file = std::make_unique<const File>(std::move(*result.config));
    read.overlaid = overlay(read.file->config, read.file->index, entries);
    result.config = read.overlaid.config;
    if (entries.empty()) return result;
    // What the rules say of the file alone gives way to what they say of the whole.
    std::set<std::string> of_file;
    for (const Diagnostic& diagnostic : validate_config(read.file->config)) of_file.insert(diagnostic.text());
    std::erase_if(result.diagnostics, [&](const Diagnostic& one) { return of_file.contains(one.text()); });
    for (const std::string& warning : read.overlaid.warnings) {
        Diagnostic& diagnostic = result.diagnostics.emplace_back();
        diagnostic.severity = Diagnostic::Severity::warning;
        diagnostic.where.file = "run-time changes";
        diagnostic.message = warning;
    }
    for (Diagnostic& diagnostic : validate_config(*result.config)) {
        if (is_error(diagnostic)) add_remedy(diagnostic);
        result.diagnostics.push_back(std::move(diagnostic));
    }
    if (std::ranges::any_of(result.diagnostics, is_error)) result.config.reset();
    return result;
}

ConfigResult EffectiveConfig::read_file(const std::string& path) {
    read_ = {};
    return read(path, *entries_, read_);
}

ConfigResult EffectiveConfig::judge_file(const std::string& path, const JournalEntries& entries) {
    Read unused;
    return read(path, entries, unused);
}

bool EffectiveConfig::commit_file() {
    const bool settled = !read_.overlaid.settled.empty();
    file_ = std::move(read_.file);
    entries_ = std::make_shared<const JournalEntries>(std::move(read_.overlaid.kept));
    config_ = std::move(read_.overlaid.config);
    read_ = {};
    remember_warnings();
    return settled;
}

Result<ChangePlan> EffectiveConfig::plan(std::span<const Change> changes) const {
    ChangePlan plan;
    JournalEntries entries = *entries_;
    if (auto entered = enter_all(changes, file_->index, entries, plan); !entered)
        return tl::make_unexpected(entered.error());
    plan.entries = std::make_shared<const JournalEntries>(std::move(entries));
    if (plan.changed.empty()) {
        plan.config = config_;
        plan.all_warnings = warnings_;
        return plan;
    }
    plan.config = overlay(file_->config, file_->index, *plan.entries).config;
    std::vector<std::string> errors;
    for (const Diagnostic& diagnostic : validate_config(plan.config)) {
        std::string sentence = told(diagnostic);
        if (is_error(diagnostic)) {
            errors.push_back(std::move(sentence));
            continue;
        }
        if (!warnings_.contains(sentence)) plan.warnings.push_back(sentence);
        plan.all_warnings.insert(std::move(sentence));
    }
    if (!errors.empty()) return operator_error(fmt::format("{}", fmt::join(errors, "\n")));
    return plan;
}

void EffectiveConfig::commit(ChangePlan plan) {
    entries_ = std::move(plan.entries);
    config_ = std::move(plan.config);
    warnings_ = std::move(plan.all_warnings);
}

}  // namespace weir
