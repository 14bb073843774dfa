// The configuration file as read last, the journal's entries, and what is in force: the file with the entries
// laid over it, judged by the rules of a file.
//
// Every step has two halves. The first (read_file, plan) makes the next configuration and touches nothing;
// the second (commit) is called once the next configuration is durable and in force. Without I/O but for the
// file that read_file() reads; the control thread.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ctrl/changes/overlay.h"
#include "ctrl/config/read_config.h"
#include "drivers/result.h"

namespace weir {

// Changes that may be put in force together.
struct ChangePlan {
    Config config;
    std::shared_ptr<const JournalEntries> entries;
    std::vector<BackendKey> changed;    // entries that differ from those in force
    std::vector<BackendKey> cut;        // removed with their flows
    std::vector<std::string> warnings;  // that the configuration in force does not have
    std::set<std::string> all_warnings;
};

class EffectiveConfig {
  public:
    // At start. `file` is valid. Entries that the file does not let stand, and those that contradict it, are
    // left out, with the reasons in `warnings`: the file alone always stands.
    EffectiveConfig(Config file, JournalEntries entries, std::vector<std::string>& warnings);

    [[nodiscard]] const Config& config() const { return config_; }
    [[nodiscard]] const std::shared_ptr<const JournalEntries>& entries() const { return entries_; }

    // The file as it is now with the entries that it lets stand; their contradictions are errors here, which
    // name the entry. Replaces what an earlier call has read.
    [[nodiscard]] ConfigResult read_file(const std::string& path);
    // The same of any file, and nothing comes of it. Any thread.
    [[nodiscard]] static ConfigResult judge_file(const std::string& path, const JournalEntries& entries);
    // What read_file() read is in force. Returns whether entries were left out or changed.
    bool commit_file();

    // All of `changes`, or an error that names the first that cannot be.
    [[nodiscard]] Result<ChangePlan> plan(std::span<const Change> changes) const;
    void commit(ChangePlan plan);

  private:
    // A file, and where things are in it. Where it lies does not change: the index refers to it.
    struct File {
        explicit File(Config read) : config(std::move(read)), index(config) {}
        File(const File&) = delete;
        File& operator=(const File&) = delete;
        Config config;
        BackendIndex index;
    };
    struct Read {
        std::unique_ptr<const File> file;
        Overlay overlaid;
    };
    static ConfigResult read(const std::string& path, const JournalEntries& entries, Read& read);
    void leave_out_contradictions(std::vector<std::string>& warnings);
    void remember_warnings();

    std::unique_ptr<const File> file_;
    std::shared_ptr<const JournalEntries> entries_;
    Config config_;
    std::set<std::string> warnings_;  // of config_
    Read read_;
};

}  // namespace weir
